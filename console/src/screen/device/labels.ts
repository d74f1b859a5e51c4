/** Labels as lines of `key=value`, to be read and written by hand. */

export function linesOf(labels: Map<string, string>): string {
  return [...labels].map(([key, value]) => `${key}=${value}`).join('\n');
}

/** The labels, or the number of the line that is none. */
export function labelsOf(lines: string): Record<string, string> | { wrongLine: number } {
  const labels: [string, string][] = [];
  for (const [idx, line] of lines.split('\n').entries()) {
    if (line.trim() === '') continue;
    const split = line.indexOf('=');
    if (split < 1) return { wrongLine: idx + 1 };
    labels.push([line.slice(0, split).trim(), line.slice(split + 1).trim()]);
  }
  return Object.fromEntries(labels);
}
