import { type JSX } from "react";
import { actions } from "../state/keys";
import { Dialog } from "./dialog";

export function Help({ close }: { close: () => void }): JSX.Element {
  const keyed = actions().filter((action) => action.keys);
  const groups = [...new Set(keyed.map((action) => action.group ?? "Here"))];
  return (
    <Dialog label="Keys" close={close}>
      <header>
        <h2>Keys</h2>
        <button type="button" className="button quiet small" onClick={close} aria-label="Close">✕</button>
      </header>
      <div className="body">
        {groups.map((group) => (
          <section key={group} className="stack">
            <h3>{group}</h3>
            <div className="keys">
              {keyed.filter((action) => (action.group ?? "Here") === group).map((action) => (
                <div key={action.id}>
                  <span>{action.label}</span>
                  <span className="row">{action.keys!.split("|")[0]!.split(" ").map((key) => <kbd key={key} className="key">{key}</kbd>)}</span>
                </div>
              ))}
            </div>
          </section>
        ))}
        <p className="soft">Everywhere: the command palette knows every action. On the timeline: drag to choose a stretch, hold Ctrl and scroll to zoom, shift and scroll to pan.</p>
      </div>
    </Dialog>
  );
}
