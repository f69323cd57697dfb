/** What the API answers when something is wrong, see backend/core/errors.py. */
export interface ErrorBody {
  code: string;
  message: string;
  fields?: Record<string, string>;
  detail?: unknown;
}

/** An answer other than success. `message` is for people; `fields` names inputs by dotted path. status 0: no answer. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly fields: Record<string, string>;
  readonly detail: unknown;

  constructor(status: number, body: ErrorBody) {
    super(body.message);
    this.name = "ApiError";
    this.status = status;
    this.code = body.code;
    this.fields = body.fields ?? {};
    this.detail = body.detail ?? null;
  }
}

/** No answer at all: the server is down, or the network is. The request may have arrived all the same. */
export function unreachable(): ApiError {
  return new ApiError(0, {
    code: "unreachable",
    message:
      "The studio cannot be reached. Whether a change that was just sent was made is not known; " +
      "look before you repeat it.",
    fields: {},
    detail: null,
  });
}

function isErrorBody(value: unknown): value is { error: ErrorBody } {
  if (typeof value !== "object" || value === null || !("error" in value)) return false;
  const error = value.error;
  return typeof error === "object" && error !== null && "code" in error && "message" in error;
}

/** The error that a response stands for. A body of another shape (a proxy's page) becomes one line with its status. */
export function errorFrom(status: number, body: unknown): ApiError {
  if (isErrorBody(body)) {
    return new ApiError(status, body.error);
  }
  const message =
    status >= 502 && status <= 504
      ? `The studio does not answer (status ${status} from a proxy). Nothing is lost; try again in a moment.`
      : `The studio answered with status ${status} and no explanation. Its log (api.log) says more.`;
  return new ApiError(status, { code: "error", message, fields: {}, detail: body ?? null });
}

/** Any thrown thing as a line for people. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  return String(error);
}

/** Complaints by input, for `form.setErrors`. Empty if the error names none. */
export function fieldsOf(error: unknown): Record<string, string> {
  return error instanceof ApiError ? error.fields : {};
}
