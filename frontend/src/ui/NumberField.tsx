import { NumberInput, type NumberInputProps } from "@mantine/core";
import { useState } from "react";

interface Props extends Omit<NumberInputProps, "value" | "onChange" | "onBlur"> {
  value: number | null;
  /** null only where it may be empty */
  onChange: (value: number | null) => void;
  mayBeEmpty?: boolean;
  /** the value is more than this; `min` is what it may be at least */
  above?: number;
  /** the value is less than this */
  below?: number;
}

/**
 * A field whose value is a number at every moment. What is not one yet, as "0." on the way to 0.2, is kept in the field
 * alone; whoever leaves it so finds the last number again. So is a number on the wrong side of `above` or `below`.
 */
export function NumberField({ value, onChange, mayBeEmpty = false, above, below, error, ...rest }: Props) {
  const [typed, setTyped] = useState<string | null>(null);
  const outside = (number: number) =>
    above !== undefined && number <= above
      ? `More than ${above}.`
      : below !== undefined && number >= below
        ? `Less than ${below}.`
        : undefined;
  return (
    <NumberInput
      {...rest}
      error={error ?? (typed === null || typed.trim() === "" ? undefined : outside(Number(typed)))}
      value={typed ?? value ?? ""}
      onChange={(next) => {
        const wrong = typeof next === "number" && outside(next) !== undefined;
        setTyped(typeof next === "number" && !wrong ? null : String(next));
        if (wrong) return;
        if (typeof next === "number") onChange(next);
        else if (next === "" && mayBeEmpty) onChange(null);
      }}
      onBlur={() => setTyped(null)}
    />
  );
}
