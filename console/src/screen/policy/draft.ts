/** The draft of a policy against the one in force: what differs, which lines have problems. */
import type { Namespace, PolicyProblem } from '../../api/policy';

export function sameNamespaces(one: Namespace[], other: Namespace[]): boolean {
  return (
    one.length === other.length &&
    one.every((namespace, idx) => namespace.name === other[idx]?.name && namespace.template === other[idx]?.template)
  );
}

/** The numbers of the lines that have a problem. */
export function linesWithProblems(problems: PolicyProblem[]): Set<number> {
  return new Set(problems.map(({ line }) => line).filter((line) => line !== null));
}

/** Where a line begins and ends in a text; lines count from 1. */
export function lineSpan(source: string, line: number): { start: number; end: number } {
  const lines = source.split('\n');
  const wanted = Math.min(Math.max(line, 1), lines.length);
  const start = lines.slice(0, wanted - 1).reduce((sum, text) => sum + text.length + 1, 0);
  return { start, end: start + (lines[wanted - 1] ?? '').length };
}
