import { Tooltip } from "@mantine/core";
import {
  cloneElement,
  createContext,
  useContext,
  useState,
  type ReactElement,
  type ReactNode,
  type SyntheticEvent,
} from "react";

const Shared = createContext(false);

interface Props {
  label: string;
  children: ReactElement<{ "data-tip"?: string }>;
}

/** A tooltip; inside `Tips` that one shows it, since hundreds of rows with tooltips of their own take seconds to draw. */
export function Tip({ label, children }: Props) {
  if (useContext(Shared)) return cloneElement(children, { "data-tip": label });
  return <Tooltip label={label}>{children}</Tooltip>;
}

/** Around many parts with a tooltip each: one for all of them, for pointer and keyboard. */
export function Tips({ children }: { children: ReactNode }) {
  const [target, setTarget] = useState<HTMLElement | null>(null);
  const at = (event: SyntheticEvent) => setTarget((event.target as Element).closest<HTMLElement>("[data-tip]"));
  const away = () => setTarget(null);
  return (
    <Shared value={true}>
      <div role="presentation" onPointerOver={at} onPointerLeave={away} onFocus={at} onBlur={away} onClick={away}>
        {children}
      </div>
      {target && <Tooltip label={target.dataset.tip} target={target} opened />}
    </Shared>
  );
}
