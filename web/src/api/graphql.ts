// GraphQL over HTTP. Queries stand beside the views that need them; types are written by hand, close to them.
import { ask, Fault, faultOf } from "./http";

interface Answer<T> {
  data?: T | null;
  errors?: { message: string; path?: (string | number)[]; extensions?: { code?: string } }[];
}

export async function gql<T>(query: string, variables: Record<string, unknown> = {}, signal?: AbortSignal): Promise<T> {
  const answer = await ask("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
    ...(signal ? { signal } : {}),
  });
  if (!answer.ok) throw await faultOf(answer);
  const told = (await answer.json()) as Answer<T>;
  const error = told.errors?.[0];
  if (error) throw new Fault(error.message, error.extensions?.code ?? "INTERNAL");
  return told.data as T;
}
