// What can be done with an object: tried first, then told, then done, with a way back. A button that may not says why.
import { useState, type JSX } from "react";
import { gql } from "../../api/graphql";
import { told, write } from "../../api/writes";
import type { Manifest } from "../../model/manifest";
import { useRefusal } from "../../state/writing";
import type { Ref } from "../../state/route";
import { Dialog } from "../../ui/dialog";
import { delayed, toast } from "../../ui/toast";

const SCALES = ["deployments.apps", "statefulsets.apps", "replicasets.apps"];
const RESTARTS = ["deployments.apps", "statefulsets.apps", "daemonsets.apps"];

interface Deed {
  label: string;
  says: string; // what it will do
  danger?: boolean;
  replicas?: number;
  run: (options: { dryRun: boolean; replicas: number }) => Promise<{ revision: number | null; warnings: string[] }>;
}

function Button({ label, refusal, danger, press }: { label: string; refusal: string | undefined; danger?: boolean; press: () => void }): JSX.Element {
  return <button type="button" className={`button small ${danger ? "danger" : ""}`} aria-disabled={Boolean(refusal)} title={refusal ?? label} onClick={() => (refusal ? toast(refusal) : press())}>{label}</button>;
}

export function Actions({ refers, manifest, revision, done }: { refers: Ref; manifest: Manifest; revision: number; done: () => void }): JSX.Element {
  const [deed, setDeed] = useState<Deed>();
  const patch = useRefusal("patch", refers);
  const scale = useRefusal("patch", SCALES.includes(refers.resource) ? refers : null, "scale");
  const remove = useRefusal("delete", refers);
  const ref = { resource: refers.resource, namespace: refers.namespace || null, name: refers.name };
  const spec = (manifest["spec"] ?? {}) as { replicas?: number; unschedulable?: boolean };
  const name = refers.name;
  const isNode = refers.resource === "nodes";
  return (
    <div className="row wrap" role="group" aria-label="Actions">
      {SCALES.includes(refers.resource) ? <Button label="Scale" refusal={scale} press={() => setDeed({ label: "Scale", says: `Sets how many pods ${name} wants.`, replicas: spec.replicas ?? 1, run: ({ dryRun, replicas }) => write("scale", { ref, replicas, dryRun }) })} /> : null}
      {RESTARTS.includes(refers.resource) ? (
        <>
          <Button label="Restart" refusal={patch} press={() => setDeed({ label: "Restart", says: `Makes all pods of ${name} anew, a few at a time as its strategy says.`, run: ({ dryRun }) => write("restart", { ref, dryRun }) })} />
          <Button label="Roll back" refusal={patch} press={() => setDeed({ label: "Roll back", says: `Puts the template that ${name} had before the present one back.`, run: ({ dryRun }) => write("rollback", { ref, dryRun }) })} />
        </>
      ) : null}
      {isNode ? (
        <>
          {spec.unschedulable
            ? <Button label="Uncordon" refusal={patch} press={() => setDeed({ label: "Uncordon", says: `Lets pods be placed on ${name} again.`, run: ({ dryRun }) => write("uncordon", { node: name, dryRun }) })} />
            : <Button label="Cordon" refusal={patch} press={() => setDeed({ label: "Cordon", says: `Keeps new pods away from ${name}; those that run there stay.`, run: ({ dryRun }) => write("cordon", { node: name, dryRun }) })} />}
          <Button label="Drain" refusal={patch} danger press={() => setDeed({ label: "Drain", danger: true, says: `Cordons ${name} and evicts its pods, as far as disruption budgets allow.`, run: ({ dryRun }) => drain(name, dryRun) })} />
        </>
      ) : null}
      <Button label="Delete" refusal={remove} danger press={() => setDeed({ label: "Delete", danger: true, says: `Deletes ${name}${["deployments.apps", "statefulsets.apps", "daemonsets.apps", "replicasets.apps", "jobs.batch"].includes(refers.resource) ? " and, after it, everything it owns" : ""}. Undo brings it back with a new uid.`, run: ({ dryRun }) => write("delete", { ref, dryRun, expectedRevision: dryRun ? null : revision }) })} />
      {deed ? <Confirm deed={deed} close={() => setDeed(undefined)} name={name} done={done} /> : null}
    </div>
  );
}

interface Drained {
  drain: { done: boolean; node: { revision: number | null; errors: { message: string }[] }; pods: { name: string; outcome?: string }[] };
}

async function drain(node: string, dryRun: boolean): Promise<{ revision: number | null; warnings: string[] }> {
  const data = await gql<Drained>("mutation($i: DrainInput!) { drain(input: $i) { done node { revision errors { message } } pods { name } } }", { i: { node, dryRun, ignoreDaemonSets: true, fieldManager: "ksql-window" } });
  const error = data.drain.node.errors[0];
  if (error) throw new Error(error.message);
  return { revision: data.drain.node.revision, warnings: [`${data.drain.pods.length} pods: ${data.drain.pods.slice(0, 8).map((pod) => pod.name).join(", ")}`] };
}

function Confirm({ deed, close, name, done }: { deed: Deed; close: () => void; name: string; done: () => void }): JSX.Element {
  const [replicas, setReplicas] = useState(deed.replicas ?? 0);
  const [tried, setTried] = useState<string>();
  const [fault, setFault] = useState<string>();
  const run = (dryRun: boolean): Promise<{ revision: number | null; warnings: string[] }> => deed.run({ dryRun, replicas });
  const failed = (error: unknown): void => setFault(error instanceof Error ? error.message : String(error));
  const confirm = (): void => {
    // Tried before it is promised: what the server would refuse is said here, not later.
    run(true).then(() => {
      close();
      delayed(`${deed.label} ${name}…`, () => {
        run(false).then((written) => { told(`${deed.label}: ${name}`, written.revision); done(); }, (error: unknown) => toast(error instanceof Error ? error.message : String(error), { bad: true }));
      });
    }, failed);
  };
  return (
    <Dialog label={`${deed.label} ${name}`} close={close}>
      <header><h2>{deed.label} {name}</h2></header>
      <div className="body">
        <p>{deed.says}</p>
        {deed.replicas === undefined ? null : <label className="row">Pods <input className="field num" type="number" min={0} value={replicas} autoFocus onChange={(changed) => setReplicas(Math.max(0, Math.floor(Number(changed.target.value))))} style={{ width: 90 }} /></label>}
        {tried ? <p className="ok">{tried}</p> : null}
        {fault ? <p className="bad" role="alert">{fault}</p> : null}
      </div>
      <footer>
        <button type="button" className="button" onClick={() => { setFault(undefined); run(true).then((found) => setTried(["The server would do it.", ...found.warnings].join(" ")), failed); }}>Try only</button>
        <button type="button" className="button" onClick={close}>Cancel</button>
        <button type="button" className={`button ${deed.danger ? "danger" : "primary"}`} onClick={confirm}>{deed.label}</button>
      </footer>
    </Dialog>
  );
}
