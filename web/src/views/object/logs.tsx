import { useState, type JSX } from "react";
import { logs } from "../../api/rest";
import type { Manifest } from "../../model/manifest";
import { useData } from "../../state/data";
import { goLive } from "../../state/cursor";
import type { Ref } from "../../state/route";
import { Empty, FaultScreen, Skeleton } from "../../ui/parts";

const TAIL = 1000;

/** What a pod's containers have written. The output is the node's: it has no past. */
export function Logs({ refers, manifest, live }: { refers: Ref; manifest: Manifest; live: boolean }): JSX.Element {
  const spec = manifest["spec"] as { containers?: { name: string }[]; initContainers?: { name: string }[] } | undefined;
  const names = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])].map((one) => one.name);
  const [container, setContainer] = useState(names[0] ?? "");
  const found = useData(live ? `logs ${refers.namespace}/${refers.name} ${container}` : null, (signal) => logs(refers, container, TAIL, signal));
  if (!live) return <Empty title="Output has no past" actions={<button type="button" className="button primary" onClick={goLive}>Back to LIVE</button>}>A container's output lies on its node and is not part of the log of events.</Empty>;
  return (
    <div className="stack" style={{ flex: 1, minHeight: 0 }}>
      <div className="row">
        <select className="field" aria-label="Container" value={container} onChange={(changed) => setContainer(changed.target.value)}>{names.map((name) => <option key={name}>{name}</option>)}</select>
        <button type="button" className="button small" onClick={found.again}>Again</button>
        <span className="faint">the newest {TAIL} lines</span>
      </div>
      {found.fault ? <FaultScreen fault={found.fault} again={found.again} /> : found.data === undefined ? <Skeleton /> : <pre className="log" tabIndex={0} aria-label="Output">{found.data || "nothing was written"}</pre>}
    </div>
  );
}
