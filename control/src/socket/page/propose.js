// Rules for what was seen between two ends, from the daemon: the smallest set, as a file beside those of the policy.
import { ask, query } from "./api.js";
import { by, count } from "./dom.js";
import { title } from "./model.js";

/** How tight rules are, the tightest first: `allows` says what a selector asks for. */
export const TIGHTNESS = [["workload", "workloads by name"], ["tier", "every label key"], ["app", "all but the tier"], ["wide", "the first key"]];

/** An end as the question names it: labels, a network, or one of the two that have neither. */
function end(node) {
  if (node.kind === "network") return `net:${node.name}`;
  if (node.kind !== "labelled") return node.kind;
  return Object.entries(node.labels || {}).flatMap(([key, values]) => values.map((value) => `${key}=${value}`)).join(",");
}

/** The proposal for one service of a line. */
export async function propose(service, tightness) {
  const chosen = [by("by").value, by("tier").value];
  const found = await ask(query("/v1/propose", {
    tightness, from: end(service.from), to: end(service.to), service: service.service,
    keys: [...new Set([...chosen, "app", "role", "env", "loc"])].filter(Boolean).slice(0, 8).join(","), tier: chosen[1] || "role",
    include_denied: service.state === "blocked" ? "true" : "",
  }));
  const [refused] = found.not_proposable;
  if (!found.rules.length) throw new Error(refused ? `${refused.source} → ${refused.destination} ${refused.service}: ${refused.why}` : "A rule of the policy in force allows what was seen already.");
  const unseen = found.rules.reduce((sum, rule) => sum + rule.unseen, 0), tuples = found.rules.reduce((sum, rule) => sum + rule.tuples, 0);
  const told = [
    `${found.rules.length === 1 ? "One rule allows" : `${found.rules.length} rules allow`} what was seen; of ${count(tuples)} pairs of workloads and services that it allows, ${count(unseen)} ${unseen === 1 ? "was" : "were"} not seen.`,
    found.refusal ? `It cannot be published as it is: ${found.refusal}` : "",
  ].filter(Boolean).join(" ");
  return { name: found.name, text: found.yaml, message: `allow ${service.service} from ${title(service.from)} to ${title(service.to)}`, told };
}
