import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useEffect } from "react";

import { fieldsOf } from "@/api/client";
import { ErrorNote } from "@/ui/ErrorNote";

import { checkName, checkPassword, PASSWORD_MIN } from "./core/fields";

interface Values {
  name: string;
  password: string;
}

interface Props {
  /** without: only a password is asked for */
  named: boolean;
  submit: string;
  pending: boolean;
  error: unknown;
  onSubmit: (values: Values) => void;
}

/** Name and password of a new account, or a new password alone. */
export function AccountForm({ named, submit, pending, error, onSubmit }: Props) {
  const form = useForm<Values>({
    mode: "uncontrolled",
    initialValues: { name: "", password: "" },
    validate: { name: (value) => (named ? checkName(value) : null), password: checkPassword },
    validateInputOnBlur: ["name"],
  });
  const { setErrors } = form;
  useEffect(() => setErrors(fieldsOf(error)), [error, setErrors]);
  const elsewhere = Object.keys(fieldsOf(error)).every((field) => field !== "name" && field !== "password");
  return (
    <form onSubmit={form.onSubmit(({ name, password }) => onSubmit({ name: name.trim(), password }))}>
      <Stack>
        {named && (
          <TextInput
            label="Name"
            description="What others see; letters, digits and . _ @ -"
            autoComplete="username"
            data-testid="account-name"
            key={form.key("name")}
            {...form.getInputProps("name")}
          />
        )}
        <PasswordInput
          label={named ? "Password" : "New password"}
          description={`At least ${PASSWORD_MIN} characters; a short sentence is good`}
          autoComplete="new-password"
          data-testid="account-password"
          key={form.key("password")}
          {...form.getInputProps("password")}
        />
        {elsewhere && <ErrorNote error={error} />}
        <Button type="submit" loading={pending} data-testid="account-submit">
          {submit}
        </Button>
      </Stack>
    </form>
  );
}
