// The panel beside the map: what is selected, why, and what could be done.
import { ask, query } from "./api.js";
import { ago, bytes, count, h, time, WORDS } from "./dom.js";
import { folds, groupOf, short, stateOf, title } from "./model.js";

const badge = (state) => h("span", { class: `badge ${state}` }, WORDS[state]);
const fact = (name, value) => (value === undefined || value === null || value === "" ? [] : [h("dt", {}, name), h("dd", {}, value)]);

/** A line: its services with rules, flows and times. `on.propose(line, service)` drafts a rule. */
export function lineDetails(line, { draft, mayChange, on }) {
  const services = [...line.services].sort((a, b) => b.flows - a.flows);
  const parts = [
    h("div", { class: "ends" }, h("h2", {}, title(line.from)), h("span", { class: "arrow" }, "↓ opens flows to"), h("h2", {}, title(line.to))),
    h("div", { class: "badges" }, badge(line.state), line.changed && h("span", { class: "hint" }, "the draft decides otherwise for some")),
    h("dl", {}, fact("Flows", count(line.flows)), fact("Traffic", `${count(line.packets)} packets, ${bytes(line.bytes)}`),
      fact("First seen", `${time(line.first_seen)} (${ago(line.first_seen)})`), fact("Last seen", `${time(line.last_seen)} (${ago(line.last_seen)})`)),
    h("h3", {}, `${services.length} ${services.length === 1 ? "service" : "services"}`),
    services.slice(0, 50).map((service) => serviceCard(service, { draft, mayChange, on, line })),
  ];
  if (services.length > 50) parts.push(h("p", { class: "hint" }, `and ${services.length - 50} more; the table lists them`));
  return parts;
}

function serviceCard(service, { draft, on, line }) {
  const said = h("div", { "aria-live": "polite" });
  const { source, destination } = service.example || {};
  const inner = groupOf(line.from) === line.from || groupOf(line.to) === line.to;
  const differs = draft && service.draft && service.draft !== service.state;
  return h("article", { class: "service", "data-service": service.service },
    h("header", {}, h("span", {}, service.service), h("span", { class: "badges" }, badge(service.state), differs && [h("span", { "aria-label": "with the draft" }, "⇒"), badge(service.draft)])),
    inner && h("p", { class: "small" }, `${title(service.from)} → ${title(service.to)}`),
    h("dl", {}, fact("Decided by", (service.rules || []).join(", ")), fact("Flows", `${count(service.flows)}, ${bytes(service.bytes)}`),
      fact("Seen", `${ago(service.first_seen)} to ${ago(service.last_seen)}`), source && fact("For example", `${source} → ${destination}`)),
    h("div", { class: "actions" },
      source && h("button", { type: "button", onclick: () => explain(service, said) }, "Explain"),
      stateOf(service, draft) !== "allowed" && h("button", { type: "button", class: "main", onclick: () => on.propose(service, said) }, "Propose a rule")),
    said);
}

async function explain(service, into) {
  into.replaceChildren(h("p", { class: "hint" }, "asking …"));
  try {
    const { source, destination } = service.example;
    const why = await ask(query("/v1/explain", { source, destination, service: service.service }));
    into.replaceChildren(explanation(why));
  } catch (error) {
    into.replaceChildren(h("p", { class: "error" }, error.message));
  }
}

function explanation(why) {
  const labels = (end) => Object.entries(end.labels || {}).map(([key, values]) => `${key}=${values.map((value) => value.value).join("+")}`).join(" ") || "no labels";
  const who = (end) => `${end.workload || (end.networks || [])[0] || "unknown"} (${end.address}): ${labels(end)}; mode ${end.mode}`;
  const others = (why.candidates || []).filter((rule) => rule.tier !== "infrastructure").slice(0, 4);
  const change = why.change;
  return h("div", { class: "said explanation" },
    h("p", {}, h("b", {}, `${why.verdict}: `), `${why.rule} (tier ${why.tier}) at the ${why.gate} gate`, why.written ? `, written at ${why.written}` : ""),
    why.potential && h("p", {}, `It passes because its endpoint only observes: enforced, ${why.potential} would deny it.`),
    h("p", { class: "hint" }, "from ", who(why.source)), h("p", { class: "hint" }, "to ", who(why.destination)),
    others.length > 0 && [h("h3", {}, "Other rules for this pair"), h("ul", {}, others.map((rule) => h("li", {}, `${rule.rule}: ${rule.lost}`)))],
    change && [h("h3", {}, `The smallest change to ${change.verdict}`), h("ul", {}, change.edits.map((edit) => h("li", {}, edit))),
      h("p", { class: "hint" }, `opens ${change.opens ?? "?"} and closes ${change.closes ?? "?"} other pairs`)]);
}

/** A group: what it speaks to and who speaks to it. */
export function groupDetails(group, lines, { on, open }) {
  const out = lines.filter((line) => groupOf(line.from) === group && groupOf(line.to) !== group);
  const into = lines.filter((line) => groupOf(line.to) === group && groupOf(line.from) !== group);
  const inner = lines.filter((line) => groupOf(line.from) === group && groupOf(line.to) === group);
  const kinds = { unlabelled: "Workloads without labels: quarantined until they have some.", unknown: "Addresses that belong to no workload and no network.", network: "A named network." };
  return [
    h("h2", {}, group.name), kinds[group.kind] && h("p", { class: "hint" }, kinds[group.kind]),
    h("dl", {}, fact("Workloads", group.workloads ? count(group.workloads) : ""), fact("Flows", count(group.flows)),
      fact("Such as", group.nodes.flatMap((node) => node.examples || []).slice(0, 6).join(", "))),
    folds(group) && h("div", { class: "actions" }, h("button", { type: "button", onclick: () => on.fold(group) }, open ? "Hide its tiers" : "Show its tiers")),
    lineList("Opens flows to", out, (line) => short(line.to), on), lineList("Is opened to by", into, (line) => short(line.from), on),
    lineList("Within", inner, (line) => (line.from === line.to ? "itself" : `${short(line.from)} → ${short(line.to)}`), on),
  ];
}

function lineList(heading, lines, name, on, plain) {
  if (!lines.length) return [];
  const sorted = [...lines].sort((a, b) => b.flows - a.flows);
  return h("section", {}, h("h3", {}, heading), h("div", { class: "list" }, sorted.slice(0, 60).map((line) =>
    h("button", { type: "button", onclick: () => on.line(line) }, h("span", {}, name(line)), h("span", { class: "n" }, plain ? null : badge(line.state), ` ${count(line.flows)}`)))));
}

/** Nothing selected: what there is, and what wants to be looked at. */
export function overview(model, seen, { on, draft }) {
  const { map } = model;
  const wanted = (state) => seen.lines.filter((line) => line.state === state).sort((a, b) => b.flows - a.flows);
  const changed = seen.lines.filter((line) => line.changed);
  const pair = (line) => `${short(line.from)} → ${short(line.to)}`;
  const workloads = model.groups.reduce((sum, group) => sum + (group.workloads || 0), 0);
  return [
    h("h2", {}, "What depends on what"),
    h("dl", {}, fact("Groups", `${count(model.groups.length + ((map.left_out || {}).groups || 0))} by ${map.by.join(", ")}`), fact("Workloads", count(workloads)),
      fact("Dependencies", count(model.edges.length + ((map.left_out || {}).edges || 0)))),
    draft && (changed.length ? lineList("The draft decides otherwise", changed, pair, on) : h("p", { class: "hint" }, `The draft decides every flow that was seen as the policy in force does.`)),
    lineList("Potentially blocked", wanted("potentially-blocked").slice(0, 8), pair, on, true), lineList("Blocked", wanted("blocked").slice(0, 8), pair, on, true),
    h("p", { class: "hint" }, "Select a line to see its services, its rules and why. “Potentially blocked” passes today, because its endpoint only observes; once enforced, policy would drop it."),
  ];
}
