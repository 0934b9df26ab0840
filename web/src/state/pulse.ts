// A number that rises when something happened, at most so often: what views that summarise are renewed by.
import { useEffect, useState } from "react";
import { feed } from "../api/live";
import type { LogEvent } from "../model/events";

export function usePulse(live: boolean, ms: number, matters: (event: LogEvent) => boolean = () => true): number {
  const [pulse, setPulse] = useState(0);
  useEffect(() => {
    if (!live) return;
    let timer = 0;
    const stop = feed.listen((events) => {
      if (!timer && events.some(matters)) timer = window.setTimeout(() => { timer = 0; setPulse((one) => one + 1); }, ms); // prettier-ignore
    });
    return () => {
      stop();
      window.clearTimeout(timer);
    };
    // What matters is said once.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [live, ms]);
  return pulse;
}
