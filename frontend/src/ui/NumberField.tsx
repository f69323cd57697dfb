import { NumberInput, type NumberInputProps } from "@mantine/core";
import { useState } from "react";

interface Props extends Omit<NumberInputProps, "value" | "onChange" | "onBlur"> {
  value: number | null;
  /** null only where it may be empty */
  onChange: (value: number | null) => void;
  mayBeEmpty?: boolean;
}

/**
 * A field whose value is a number at every moment. What is not one yet, as "0." on the way to 0.2, is kept in the field
 * alone; whoever leaves it so finds the last number again.
 */
export function NumberField({ value, onChange, mayBeEmpty = false, ...rest }: Props) {
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <NumberInput
      {...rest}
      value={typed ?? value ?? ""}
      onChange={(next) => {
        setTyped(typeof next === "number" ? null : next);
        if (typeof next === "number") onChange(next);
        else if (next === "" && mayBeEmpty) onChange(null);
      }}
      onBlur={() => setTyped(null)}
    />
  );
}
