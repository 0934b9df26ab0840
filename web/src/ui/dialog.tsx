// A dialog that takes the focus, gives it back, and closes by Escape or a click beside it.
import { useEffect, useRef, type JSX, type ReactNode } from "react";

export function Dialog(props: { label: string; close: () => void; children: ReactNode; className?: string }): JSX.Element {
  const frame = useRef<HTMLDialogElement>(null);
  const { close } = props;
  useEffect(() => {
    const element = frame.current!;
    element.showModal();
    return () => element.close();
  }, []);
  return (
    <dialog ref={frame} className="veil" aria-label={props.label} onCancel={(event) => { event.preventDefault(); close(); }} onClick={(event) => { if (event.target === frame.current) close(); }}>
      <div className={`dialog ${props.className ?? ""}`}>{props.children}</div>
    </dialog>
  );
}
