// Editing: the server tries it first, the difference is shown, and only then is it written.
import { useState, type JSX } from "react";
import { told, write } from "../../api/writes";
import { editable, fromYaml, toYaml, type Manifest } from "../../model/manifest";
import { useRefusal } from "../../state/writing";
import type { Ref } from "../../state/route";
import { Editor, SideBySide } from "../../ui/code";

export default function Edit({ refers, manifest, revision, done }: { refers: Ref; manifest: Manifest; revision: number; done: () => void }): JSX.Element {
  // What was opened is what is edited: changes of others since are a conflict, not a surprise.
  const [opened] = useState({ text: toYaml(editable(manifest)), revision });
  const [text, setText] = useState(opened.text);
  const [tried, setTried] = useState<{ after: string; warnings: string[] }>();
  const [fault, setFault] = useState<string>();
  const [busy, setBusy] = useState(false);
  const refusal = useRefusal("update", refers);
  const run = (dryRun: boolean): void => {
    setBusy(true);
    setFault(undefined);
    let wanted: Manifest;
    try {
      wanted = fromYaml(text);
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error));
      setBusy(false);
      return;
    }
    write("replace", { manifest: wanted, dryRun, expectedRevision: opened.revision, fieldValidation: "STRICT" }).then(
      (written) => {
        if (dryRun) setTried({ after: written.object ? toYaml(editable(written.object.manifest)) : text, warnings: written.warnings });
        else { told(`Applied: ${refers.name}`, written.revision); done(); } // prettier-ignore
      },
      (error: unknown) => setFault(error instanceof Error ? error.message : String(error)),
    ).finally(() => setBusy(false));
  };
  return (
    <div className="stack" style={{ flex: 1, minHeight: 0 }}>
      <div className="row wrap">
        {tried ? (
          <>
            <strong>This is what would change.</strong>
            <span className="grow" />
            <button type="button" className="button" onClick={() => setTried(undefined)}>Go on editing</button>
            <button type="button" className="button primary" disabled={busy || Boolean(refusal) || tried.after === opened.text} title={refusal} onClick={() => run(false)}>{tried.after === opened.text ? "Nothing to apply" : "Apply"}</button>
          </>
        ) : (
          <>
            <span className="soft">r{opened.revision}, without status and what the server keeps for itself</span>
            <span className="grow" />
            <button type="button" className="button primary" disabled={busy || Boolean(refusal)} title={refusal ?? "The server tries it and nothing is written"} onClick={() => run(true)}>Review changes</button>
          </>
        )}
      </div>
      {refusal ? <p className="soft" role="status">{refusal}</p> : null}
      {fault ? <p className="bad" role="alert">{fault}</p> : null}
      {tried?.warnings.map((one) => <p key={one} className="soft">▲ {one}</p>)}
      {tried ? <SideBySide before={opened.text} after={tried.after} /> : <Editor text={text} change={setText} label={`Manifest of ${refers.name}`} />}
    </div>
  );
}
