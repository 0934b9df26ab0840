// The way to the server over HTTP: every answer is data, or a Fault that says what was wrong in the server's words.

export class Fault extends Error {
  constructor(
    message: string,
    readonly code: string, // UNAUTHENTICATED, FORBIDDEN, HORIZON, NOT_FOUND, …; OFFLINE: nobody answered
    readonly causes: readonly { message: string; field?: string }[] = [],
  ) {
    super(message);
  }
}

const CODES: Record<number, string> = { 401: "UNAUTHENTICATED", 403: "FORBIDDEN", 404: "NOT_FOUND", 409: "CONFLICT", 410: "HORIZON" };

const listeners = new Set<() => void>();

/** Called whenever the server says that it does not know who is asking. */
export function onSignedOut(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Proves that a write comes from a page of ours: a cookie alone is sent along by any page.
let csrf = "";

export function setCsrf(value: string): void {
  csrf = value;
}

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("ksql-time-zone", ZONE);
  if (csrf && init.method && init.method !== "GET") headers.set("ksql-csrf", csrf);
  let answer: Response;
  try {
    answer = await fetch(path, { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Fault("the server cannot be reached", "OFFLINE");
  }
  if (answer.status === 401) listeners.forEach((listener) => listener());
  return answer;
}

interface Status {
  message?: string;
  details?: { causes?: { message?: string; field?: string }[] };
  errors?: { message: string; extensions?: { code?: string } }[];
}

/** The fault that a refused answer tells. */
export async function faultOf(answer: Response): Promise<Fault> {
  const text = await answer.text();
  let told: Status = {};
  try {
    told = JSON.parse(text) as Status;
  } catch {
    // A proxy in between, perhaps: its text is all there is.
  }
  const code = CODES[answer.status] ?? (answer.status >= 500 ? "UNAVAILABLE" : "BAD_USER_INPUT");
  const causes = (told.details?.causes ?? []).map((cause) => ({ message: cause.message ?? "", ...(cause.field ? { field: cause.field } : {}) }));
  const message = told.message ?? told.errors?.[0]?.message ?? (text.slice(0, 300) || answer.statusText);
  return new Fault(message, told.errors?.[0]?.extensions?.code ?? code, causes);
}

export async function getJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  const answer = await ask(path, init);
  if (!answer.ok) throw await faultOf(answer);
  return (await answer.json()) as T;
}
