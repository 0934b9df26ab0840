// Data for views: asked anew when its key changes, kept on screen while the new is on its way, never out of order.
import { useCallback, useEffect, useRef, useState } from "react";
import { Fault } from "../api/http";

export interface Loaded<T> {
  data: T | undefined;
  fault: Fault | undefined;
  loading: boolean;
  again: () => void;
}

export function useData<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ data?: T; fault?: Fault; key?: string | null; loading: boolean }>({ loading: key !== null });
  const [turn, setTurn] = useState(0);
  const loader = useRef(load);
  useEffect(() => {
    loader.current = load;
  });
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    loader.current(stop.signal).then(
      (data) => {
        if (!stop.signal.aborted) setState({ data, key, loading: false });
      },
      (error: unknown) => {
        if (stop.signal.aborted) return;
        const fault = error instanceof Fault ? error : new Fault(error instanceof Error ? error.message : String(error), "INTERNAL");
        // A picture that cannot be renewed for want of a connection is still true of its moment.
        setState((before) => (fault.code === "OFFLINE" && before.key === key ? { ...before, loading: false } : { fault, key, loading: false }));
      },
    );
    return () => stop.abort();
  }, [key, turn]);
  const again = useCallback(() => setTurn((one) => one + 1), []);
  return { data: state.data, fault: state.fault, loading: state.loading, again };
}
