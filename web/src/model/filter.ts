// The one filter grammar, as far as an input needs it: terms for chips, and what could be typed next. The server
// alone says what a filter means, and what is wrong with one (ksql/history/search.py).

export const KEYS: Readonly<Record<string, string>> = {
  kind: "of this kind or resource",
  ns: "in this namespace",
  name: "of this name; * stands for anything",
  label: "whose labels match, label:app=web",
  object: "this object, KIND/NAME, in all its lives",
  owner: "this object and all that it owned, KIND/NAME",
  actor: "by this user or component",
  is: "by a person or a component; status or wanted",
  verb: "written by this verb",
  change: "added, modified or deleted",
  field: "that changed this field",
  manager: "by this field manager",
  since: "at or after this moment",
  until: "at or before this moment",
  cause: "provoked directly by this revision",
  request: "of this request",
  uid: "of this one life",
};

export const FIXED: Readonly<Record<string, readonly string[]>> = {
  verb: ["create", "update", "patch", "apply", "delete", "deletecollection"],
  change: ["added", "modified", "deleted"],
  is: ["person", "component", "status", "wanted"],
  since: ["10m", "1h", "1d", "today"],
  until: ["10m", "1h", "now"],
};

export interface Token {
  text: string;
  start: number;
  end: number;
  negated: boolean;
  key: string;
  value: string;
}

const TERM = /(-)?(?:([A-Za-z]+):)?((?:"[^"]*"|[^\s"])*)/g;

export function tokens(text: string): Token[] {
  const out: Token[] = [];
  for (const match of text.matchAll(TERM)) {
    if (!match[0]) continue;
    const start = match.index;
    out.push({ text: match[0], start, end: start + match[0].length, negated: match[1] === "-", key: match[2] ?? "", value: match[3] ?? "" });
  }
  return out;
}

export interface Suggestion {
  text: string; // what is put in place of the term under the caret
  label: string;
  hint: string;
}

/** Values known for each key: kinds served, namespaces, actors seen. */
export type Known = Readonly<Record<string, readonly string[]>>;

const SHOWN_MAX = 12;

/** What could stand at the caret. */
export function suggestions(text: string, caret: number, known: Known): { start: number; end: number; found: Suggestion[] } {
  const here = tokens(text).find((token) => token.start <= caret && caret <= token.end);
  const term = here?.text ?? "";
  const [start, end] = here ? [here.start, here.end] : [caret, caret];
  const sign = term.startsWith("-") ? "-" : "";
  if (!here?.key) {
    const typed = term.replace(/^-/, "").toLowerCase();
    const found = Object.entries(KEYS)
      .filter(([key]) => key.startsWith(typed))
      .map(([key, hint]) => ({ text: `${sign}${key}:`, label: `${key}:`, hint }));
    return { start, end, found: found.slice(0, SHOWN_MAX) };
  }
  const key = here.key.toLowerCase();
  const parts = here.value.split(",");
  const typed = (parts.pop() ?? "").replace(/"/g, "").toLowerCase();
  const values = known[key] ?? FIXED[key] ?? [];
  const ranked = [...values].filter((value) => value.toLowerCase().includes(typed)).sort((a, b) => Number(b.toLowerCase().startsWith(typed)) - Number(a.toLowerCase().startsWith(typed)));
  const found = ranked.slice(0, SHOWN_MAX).map((value) => ({
    text: `${sign}${key}:${[...parts, /[\s,:]/.test(value) ? `"${value}"` : value].join(",")}`,
    label: value,
    hint: KEYS[key] ?? "",
  }));
  return { start, end, found };
}

/** The filter without one of its terms. */
export function without(text: string, token: Token): string {
  return `${text.slice(0, token.start)} ${text.slice(token.end)}`.replace(/\s+/g, " ").trim();
}

/** The filter with a term turned round. */
export function inverted(text: string, token: Token): string {
  const term = token.negated ? token.text.slice(1) : `-${token.text}`;
  return `${text.slice(0, token.start)}${term}${text.slice(token.end)}`;
}

/** The filter with one more term, which takes the place of another of its key. */
export function withTerm(text: string, key: string, value: string): string {
  const kept = tokens(text).filter((token) => token.key.toLowerCase() !== key).map((token) => token.text);
  return [...kept, `${key}:${/[\s,:]/.test(value) ? `"${value}"` : value}`].join(" ");
}
