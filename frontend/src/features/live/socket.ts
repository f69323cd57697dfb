/** The three sockets of a live robot. */

import { ReconnectingSocket, type Connect, type SocketHandlers } from "@/api/socket";

export type { SocketHandlers, Wire } from "@/api/socket";

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 4_000;
/** Below: the network or a restart. From here on the server says no, and will again: it is asked rarely. */
const REFUSED = 4400;

/** What this page calls itself, so that it gets the robot back when its connection was lost. */
const PAGE = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join(
  "",
);

/** Where a socket of the robot is. */
export function socketUrl(robot: string, kind: "state" | "video" | "control"): string {
  const { protocol, host } = window.location;
  const path = `/api/live/${encodeURIComponent(robot)}/${kind}`;
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${path}?page=${PAGE}`;
}

export class LiveSocket extends ReconnectingSocket {
  constructor(url: string, handlers: SocketHandlers, connect?: Connect) {
    super(url, handlers, { connect, pause });
  }
}

function pause(failures: number, code: number): number {
  return Math.min(LONGEST_RETRY_MS, code >= REFUSED ? LONGEST_RETRY_MS : FIRST_RETRY_MS * 2 ** (failures - 1));
}
