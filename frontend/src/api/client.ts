import createClient, { type Middleware } from "openapi-fetch";

import { errorFrom, unreachable } from "./error";
import type { components, paths } from "./schema";

export { ApiError, fieldsOf, messageOf, unreachable } from "./error";

/** Answers and requests by the names of the API: `Schema<"RunOut">`. */
export type Schema<Name extends keyof components["schemas"]> = components["schemas"][Name];

let whenSignedOut: () => void = () => undefined;

/** Called with every 401: the session is over or was never there. */
export function onSignedOut(handler: () => void): void {
  whenSignedOut = handler;
}

const errors: Middleware = {
  async onResponse({ response }) {
    if (response.ok) return undefined;
    if (response.status === 401) whenSignedOut();
    throw await responseError(response);
  },
  onError({ error }) {
    // fetch itself fails with a TypeError; an aborted request stays what it is
    return error instanceof TypeError ? unreachable() : undefined;
  },
};

async function responseError(response: Response) {
  const body: unknown = await response
    .clone()
    .json()
    .catch(() => null);
  return errorFrom(response.status, body);
}

/** The API. Every call throws ApiError unless it succeeds; wrap calls in `ok` to get the body itself. */
export const api = createClient<paths>({ baseUrl: window.location.origin });
api.use(errors);

/** The body of a successful answer: `const run = await ok(api.GET("/api/runs/{run_id}", ...))`. */
export async function ok<T>(call: Promise<{ data?: T }>): Promise<T> {
  const { data } = await call;
  return data as T;
}

/** For bodies that are not JSON (packs, uploads): fetch with the same errors. */
export async function fetchOk(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof TypeError) throw unreachable();
    throw error;
  }
  if (response.status === 401) whenSignedOut();
  if (!response.ok) throw await responseError(response);
  return response;
}
