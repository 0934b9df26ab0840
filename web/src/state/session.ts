// Who is looking: asked of the server, which alone knows. A browser proves itself by a cookie that no script can read.
import { useEffect, useSyncExternalStore } from "react";
import { ask, faultOf, getJson, onSignedOut, setCsrf } from "../api/http";

export interface Session {
  state: "unknown" | "in" | "out" | "unreachable";
  user: string;
  groups: string[];
}

let session: Session = { state: "unknown", user: "", groups: [] };
const watchers = new Set<() => void>();

function put(next: Session): void {
  session = next;
  watchers.forEach((watcher) => watcher());
}

interface Told {
  user?: string;
  groups?: string[];
  csrf?: string;
}

/** Ask who we are, and for the value that proves that a write comes from this page. */
export async function lookUp(): Promise<void> {
  try {
    const told = await getJson<Told>("/session");
    setCsrf(told.csrf ?? "");
    put({ state: "in", user: told.user ?? "", groups: told.groups ?? [] });
  } catch (error) {
    const code = (error as { code?: string }).code;
    put({ ...session, state: code === "OFFLINE" || code === "UNAVAILABLE" ? "unreachable" : "out" });
  }
}

/** Trade a token for the cookie. */
export async function signIn(token: string): Promise<void> {
  const answer = await ask("/login", { method: "POST", headers: { authorization: `Bearer ${token}`, accept: "application/json" } });
  if (!answer.ok) throw await faultOf(answer);
  await lookUp();
}

export async function signOut(): Promise<void> {
  await ask("/logout", { method: "POST" });
  put({ state: "out", user: "", groups: [] });
}

onSignedOut(() => {
  if (session.state === "in") put({ ...session, state: "out" });
});

export function useSession(): Session {
  const found = useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => session,
  );
  useEffect(() => {
    if (session.state === "unknown") void lookUp();
  }, []);
  return found;
}
