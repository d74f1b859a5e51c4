/** The mathematics of a list of which only a window is drawn: which rows are seen, which pages hold them. */

export type Range = { first: number; end: number };

/** The rows to draw for a view that begins `top` pixels below the list's head (negative: the head is still in view). */
export function rowsInView(top: number, height: number, rowHeight: number, total: number, spare: number): Range {
  if (total <= 0 || rowHeight <= 0) return { first: 0, end: 0 };
  const first = Math.floor(top / rowHeight) - spare;
  const end = Math.ceil((top + height) / rowHeight) + spare;
  return { first: within(first, total), end: within(end, total) };
}

/** The numbers of the pages that hold these rows. */
export function pagesOf(range: Range, pageSize: number): number[] {
  if (range.end <= range.first) return [];
  const first = Math.floor(range.first / pageSize);
  const last = Math.floor((range.end - 1) / pageSize);
  return Array.from({ length: last - first + 1 }, (_, idx) => first + idx);
}

/** The pages to forget so that no more than `keep` stay, those farthest from the view first. */
export function pagesToForget(held: number[], wanted: number[], keep: number): number[] {
  if (held.length <= keep || wanted.length === 0) return [];
  const middle = ((wanted[0] ?? 0) + (wanted[wanted.length - 1] ?? 0)) / 2;
  const far = held.filter((page) => !wanted.includes(page)).sort((a, b) => Math.abs(b - middle) - Math.abs(a - middle));
  return far.slice(0, Math.max(0, held.length - keep));
}

/** How far to scroll so that a row is wholly in view below what sticks to the top; 0 where it is already. */
export function scrollToRow(
  row: number,
  rowHeight: number,
  top: number,
  height: number,
  stuck: { above: number; below: number },
): number {
  const rowTop = row * rowHeight;
  const above = top + stuck.above - rowTop;
  if (above > 0) return -above;
  const below = rowTop + rowHeight - (top + height - stuck.below);
  return below > 0 ? below : 0;
}

function within(row: number, total: number): number {
  return Math.min(total, Math.max(0, row));
}
