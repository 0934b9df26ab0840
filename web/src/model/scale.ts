// From instants to pixels and back, with quiet stretches folded into seams of a few pixels.

export interface Gap {
  start: number;
  end: number;
}

export const SEAM_PX = 36;
// A gap is worth folding when it takes more of the screen than this, and more time than a person waits.
const SHARE_MIN = 0.16;
const GAP_MS_MIN = 20_000;
// What stays visible on both sides of something that happened.
const MARGIN_SHARE = 0.02;

interface Piece {
  t0: number;
  t1: number;
  x0: number;
  x1: number;
  seam: boolean;
}

export class Scale {
  readonly pieces: readonly Piece[];

  constructor(
    readonly from: number,
    readonly to: number,
    readonly width: number,
    gaps: readonly Gap[] = [],
  ) {
    const inside = gaps.filter((gap) => gap.end > from && gap.start < to).map((gap) => ({ start: Math.max(from, gap.start), end: Math.min(to, gap.end) }));
    const quiet = inside.reduce((sum, gap) => sum + gap.end - gap.start, 0);
    const busy = Math.max(1, to - from - quiet);
    const room = Math.max(1, width - SEAM_PX * inside.length);
    const pieces: Piece[] = [];
    let [t, x] = [from, 0];
    const add = (t1: number, length: number, seam: boolean): void => {
      if (t1 <= t) return;
      pieces.push({ t0: t, t1, x0: x, x1: x + length, seam });
      [t, x] = [t1, x + length];
    };
    for (const gap of inside) {
      add(gap.start, ((gap.start - t) / busy) * room, false);
      add(gap.end, SEAM_PX, true);
    }
    add(to, ((to - t) / busy) * room, false);
    this.pieces = pieces.length ? pieces : [{ t0: from, t1: to, x0: 0, x1: width, seam: false }];
  }

  x(time: number): number {
    const pieces = this.pieces;
    const first = pieces[0]!;
    const last = pieces[pieces.length - 1]!;
    if (time <= first.t0) return first.x0 + (time - first.t0) * this.slope(first);
    if (time >= last.t1) return last.x1 + (time - last.t1) * this.slope(last);
    let [low, high] = [0, pieces.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pieces[middle]!.t1 < time) low = middle + 1;
      else high = middle;
    }
    const piece = pieces[low]!;
    return piece.x0 + ((time - piece.t0) / (piece.t1 - piece.t0)) * (piece.x1 - piece.x0);
  }

  time(x: number): number {
    const piece = this.pieces.find((one) => x <= one.x1) ?? this.pieces[this.pieces.length - 1]!;
    return piece.t0 + ((x - piece.x0) / Math.max(1e-9, piece.x1 - piece.x0)) * (piece.t1 - piece.t0);
  }

  get seams(): readonly Piece[] {
    return this.pieces.filter((piece) => piece.seam);
  }

  private slope(piece: Piece): number {
    return (piece.x1 - piece.x0) / Math.max(1, piece.t1 - piece.t0);
  }
}

/** The quiet stretches between instants at which something happened; `times` need not be sorted. */
export function gapsOf(times: readonly number[], from: number, to: number): Gap[] {
  const range = to - from;
  const sorted = [...times].filter((time) => time >= from && time <= to).sort((a, b) => a - b);
  if (!sorted.length) return [];
  const margin = range * MARGIN_SHARE;
  const found: Gap[] = [];
  const fold = (start: number, end: number): void => {
    if (end - start > Math.max(GAP_MS_MIN, range * SHARE_MIN)) found.push({ start, end });
  };
  fold(from, sorted[0]! - margin);
  sorted.slice(1).forEach((time, place) => fold(sorted[place]! + margin, time - margin));
  fold(sorted[sorted.length - 1]! + margin, to);
  return found;
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000,
  3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000,
];

/** Instants for the ruler, some `space` pixels apart, round in the viewer's zone. */
export function ticks(scale: Scale, space = 110): { time: number; x: number; step: number }[] {
  const out: { time: number; x: number; step: number }[] = [];
  const zone = -new Date(scale.to).getTimezoneOffset() * 60_000;
  const shown = scale.pieces.filter((piece) => !piece.seam);
  const perPx = Math.min(...shown.map((piece) => (piece.t1 - piece.t0) / Math.max(1, piece.x1 - piece.x0)));
  const step = STEPS.find((one) => one >= perPx * space) ?? STEPS[STEPS.length - 1]!;
  for (const piece of shown) {
    for (let time = Math.ceil((piece.t0 + zone) / step) * step - zone; time <= piece.t1; time += step) {
      const x = scale.x(time);
      if (!out.length || x - out[out.length - 1]!.x >= space * 0.6) out.push({ time, x, step });
    }
  }
  return out;
}
