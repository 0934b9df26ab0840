// A manifest in an editor. It lives in a shadow root of its own: there it may have style sheets without the page's
// policy having to let style elements in.
import { useEffect, useRef, type JSX } from "react";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { MergeView } from "@codemirror/merge";
import { EditorState, type Extension } from "@codemirror/state";
import { EditorView, keymap, lineNumbers } from "@codemirror/view";
import { tags, type Highlighter } from "@lezer/highlight";

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--accent)" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--ok)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--amber)" },
  { tag: tags.comment, color: "var(--faint)", fontStyle: "italic" },
]);

const look = EditorView.theme({
  "&": { height: "100%", fontSize: "12px", color: "var(--text)", backgroundColor: "var(--bg)" },
  ".cm-content": { fontFamily: "var(--mono)", caretColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--faint)", borderRight: "1px solid var(--line)" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hover)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--accent) 30%, transparent) !important" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-changedLine": { backgroundColor: "color-mix(in srgb, var(--amber) 10%, transparent) !important" },
  ".cm-changedText": { background: "color-mix(in srgb, var(--amber) 32%, transparent) !important" },
});

function basics(editable: boolean, label: string): Extension[] {
  return [
    lineNumbers(), foldGutter(), history(), indentOnInput(), bracketMatching(), yaml(), syntaxHighlighting(colours as Highlighter), look,
    keymap.of([...defaultKeymap, ...historyKeymap, ...(editable ? [indentWithTab] : [])]), EditorState.readOnly.of(!editable),
    EditorView.contentAttributes.of({ "aria-label": label }), EditorState.tabSize.of(2),
  ]; // prettier-ignore
}

function rootOf(host: HTMLElement): ShadowRoot {
  return host.shadowRoot ?? host.attachShadow({ mode: "open" });
}

export function Editor({ text, change, label }: { text: string; change: (text: string) => void; label: string }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const told = useRef(change);
  useEffect(() => {
    told.current = change;
  });
  useEffect(() => {
    const root = rootOf(host.current!);
    const listener = EditorView.updateListener.of((update) => {
      if (update.docChanged) told.current(update.state.doc.toString());
    });
    const view = new EditorView({ parent: root, root, state: EditorState.create({ doc: text, extensions: [...basics(true, label), listener] }) });
    return () => view.destroy();
    // The text is what it begins with; what is typed since is the editor's own.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [label]);
  return <div ref={host} className="editor" />;
}

export function SideBySide({ before, after }: { before: string; after: string }): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const root = rootOf(host.current!);
    const view = new MergeView({
      parent: root, root, collapseUnchanged: { margin: 3, minSize: 6 }, gutter: true,
      a: { doc: before, extensions: basics(false, "before") }, b: { doc: after, extensions: basics(false, "after") },
    }); // prettier-ignore
    return () => view.destroy();
  }, [before, after]);
  return <div ref={host} className="editor" style={{ overflow: "auto", maxHeight: "70vh" }} />;
}
