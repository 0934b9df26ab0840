import { describe, expect, test } from "vitest";
import { inverted, suggestions, tokens, without, withTerm } from "../src/model/filter";

const KNOWN = { kind: ["Pod", "Deployment", "PodTemplate"], ns: ["shop", "kube-system"] };
const labels = (text: string): string[] => suggestions(text, text.length, KNOWN).found.map((one) => one.label);

describe("terms", () => {
  test("are told apart with their keys, signs and quotations", () => {
    expect(tokens('kind:Pod -ns:"kube system",shop web*').map(({ key, value, negated }) => [key, value, negated])).toEqual([
      ["kind", "Pod", false], ["ns", '"kube system",shop', true], ["", "web*", false],
    ]); // prettier-ignore
  });

  test("are taken away and turned round where they stand", () => {
    const text = "kind:Pod -ns:shop web";
    const [kind, ns] = tokens(text);
    expect(without(text, kind!)).toBe("-ns:shop web");
    expect(inverted(text, ns!)).toBe("kind:Pod ns:shop web");
    expect(inverted(text, kind!)).toBe("-kind:Pod -ns:shop web");
  });

  test("of one key replace each other", () => {
    expect(withTerm("kind:Pod ns:a", "ns", "b")).toBe("kind:Pod ns:b");
    expect(withTerm("", "since", "2026-01-01T00:00:00Z")).toBe('since:"2026-01-01T00:00:00Z"');
  });
});

describe("completion", () => {
  test("offers keys first, values after the colon, the nearest first", () => {
    expect(labels("ki")).toEqual(["kind:"]);
    expect(labels("kind:po")).toEqual(["Pod", "PodTemplate"]);
    expect(labels("-ns:sys")).toEqual(["kube-system"]);
    expect(labels("verb:")).toContain("delete");
  });

  test("keeps alternatives and the sign that were typed", () => {
    expect(suggestions("-kind:Pod,Dep", 13, KNOWN).found[0]!.text).toBe("-kind:Pod,Deployment");
  });

  test("completes the term under the caret and leaves the others", () => {
    const { start, end } = suggestions("kind:Po ns:shop", 7, KNOWN);
    expect([start, end]).toEqual([0, 7]);
  });
});
