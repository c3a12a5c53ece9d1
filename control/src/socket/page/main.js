// The page: what is asked of the daemon, what is selected, and who draws it.
import { ask, Away, codeInAddress, query, signIn, signOut } from "./api.js";
import { Change } from "./change.js";
import { groupDetails, lineDetails, overview } from "./details.js";
import { ago, by, count, h, s, say, STATES, time } from "./dom.js";
import { draw } from "./draw.js";
import { keys } from "./keys.js";
import { arrange, WIDTH } from "./layout.js";
import { folds, groupOf, GROUPS_AT_FIRST, holds, rows, seen, shape, title } from "./model.js";
import { table } from "./table.js";
import { Zoom } from "./zoom.js";

const REFRESH = 5000, EDGES = 5000;
const view = { limit: GROUPS_AT_FIRST, opened: new Set(), closed: new Set(), states: new Set(STATES), tableLimit: 500 };
const page = { model: null, status: null, caller: {}, selected: null, table: false, sort: { column: 5, down: true }, wait: REFRESH, place: "", placed: null, asked: 0, tab: "details", side: "both" };
const zoom = new Zoom();
const change = new Change({ page, refresh: () => refresh(true), showDraft, tab });

const on = {
  line: (line) => select(line.key),
  group: (group) => select(group.key),
  fold(group) {
    if (!folds(group)) return;
    const open = page.seen.open.has(group);
    for (const [set, put] of [[view.opened, !open], [view.closed, open]]) put ? set.add(group.key) : set.delete(group.key);
    render();
    say(`${group.name}: tiers ${open ? "hidden" : "shown"}`);
  },
  propose: (service, into) => change.propose(service, into),
  sort(sort) { page.sort = sort; render(); },
  more(limit) { view.tableLimit = limit; render(); },
};

/** Selects a line or a group by its key; null selects nothing. */
function select(key) {
  page.selected = key;
  if (key) tab("details");
  render();
  const found = find(key);
  if (found) say(found.from ? `${title(found.from)} to ${title(found.to)} selected` : `${found.name} selected`);
}

function find(key) {
  if (!key || !page.seen) return null;
  return page.seen.lines.find((line) => line.key === key) || page.seen.groups.find((group) => group.key === key) ||
    (page.rows || []).find((row) => row.key === key) || null;
}

/** Asks for everything that is shown; `now` even if the page cannot be seen. */
async function refresh(now) {
  clearTimeout(page.timer);
  if (document.hidden && !now) return;
  const asked = ++page.asked;
  try {
    const custom = by("since").value === "custom", when = (id) => by(id).value && new Date(by(id).value).toISOString();
    const [caller, status, map] = await Promise.all([
      ask("/v1/session"), ask("/v1/status"),
      ask(query("/v1/map", { limit: EDGES, draft: by("draft").value, search: page.searched,
        since: custom ? when("from") : by("since").value, until: custom ? when("to") : "" }) + (page.tiered ? `&by=${encodeURIComponent(by("by").value)}&tier=${encodeURIComponent(by("tier").value)}` : "")),
    ]);
    if (asked !== page.asked) return;
    Object.assign(page, { caller, status, model: shape(map), wait: REFRESH, error: null, at: Date.now() });
    if (!page.searched) page.full = page.model;
    await labelKeys(status);
  } catch (error) {
    if (asked !== page.asked) return;
    page.error = error;
    page.wait = Math.min(15000, page.wait * 1.5);
    // A draft that is gone is no reason to show nothing.
    if (error.code === "no_such_draft") { by("draft").value = ""; return refresh(now); }
  }
  render();
  if (!page.error || page.error.status !== 401) page.timer = setTimeout(refresh, page.wait);
}

/** What is not drawn is searched by the daemon, and then is all that is drawn. */
function searchAll() {
  const text = by("search").value.trim().toLowerCase();
  const hidden = page.full && (page.full.groups.length > view.limit || page.full.map.more);
  const found = () => document.querySelector("svg.map .near");
  const wanted = text && (page.searched || hidden || !found()) ? text : "";
  if (wanted === (page.searched || "")) return;
  page.searched = wanted;
  zoom.fitted = true;
  refresh(true);
}

/** The label keys there are, for the two selects; read again when the policy changes. */
async function labelKeys(status) {
  const epoch = status.policy ? status.policy.epoch : 0;
  if (page.keysOf === epoch) return;
  page.keysOf = epoch;
  const answer = await ask("/v1/workloads?limit=10000");
  const found = new Map();
  for (const workload of answer.workloads) for (const key of Object.keys(workload.labels || {})) found.set(key, (found.get(key) || 0) + 1);
  const all = [...found.keys()].sort((a, b) => found.get(b) - found.get(a) || (a < b ? -1 : 1)).slice(0, 200);
  options(by("by"), [...new Set([...all, "app"])].map((key) => [key, key]), by("by").value || "app");
  options(by("tier"), [["", "none"], ...[...new Set([...all, "role"])].map((key) => [key, key])], page.tiered ? by("tier").value : "role");
  page.tiered = true;
}

function options(into, values, chosen) {
  into.replaceChildren(...values.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  into.value = chosen;
}

function render() {
  const { model, status, error } = page;
  banners();
  by("sign-out").hidden = !page.caller.session;
  if (status) {
    const policy = status.policy;
    by("policy").textContent = policy ? `epoch ${policy.epoch} · ${count(policy.rules)} rules · ${count(policy.workloads)} workloads` : "no policy: everything is dropped";
    const drafts = status.drafts.map((draft) => [draft.name, draft.name]);
    options(by("draft"), [["", "none"], ...drafts], drafts.some(([name]) => name === by("draft").value) ? by("draft").value : "");
  }
  by("policy").classList.toggle("away", !!error);
  if (error && error.status === 401) return signInCard();
  if (!model) return empty(error ? "The map cannot be shown" : "Asking the daemon …", error ? error.message : "");
  complete(model.map.completeness);
  const draft = by("draft").value, text = by("search").value.trim().toLowerCase();
  page.seen = seen(model, { ...view, draft: false });
  page.rows = rows(model, { ...view, draft: !!draft }, text === page.searched ? "" : text);
  for (const state of STATES) document.querySelector(`.state[data-state=${state}] b`).textContent = count(page.seen.sums[state]);
  by("map-view").hidden = page.table;
  by("table-view").hidden = !page.table;
  if (page.table) table(by("table-view"), page.rows, { sort: page.sort, selected: page.selected, on, limit: view.tableLimit });
  else panes(draft, text);
  if (page.tab === "details") details(draft);
  else change.render();
}

/** One pane, or two: as enforced, and as the draft would. */
function panes(draft, text) {
  const { model } = page;
  if (!model.groups.length && page.searched) return empty("Nothing fits", `No label, name or address at either end of a flow holds “${page.searched}”.`);
  if (!model.edges.length && !model.groups.length) return empty("Nothing was seen yet", "No workload is known and no flow was recorded in this time. Publish a policy that names workloads, let traffic pass a wire, or choose a longer time.");
  const enforced = page.seen, both = draft ? [enforced, seen(model, { ...view, draft: true })] : [enforced];
  settle(both);
  const side = draft ? page.side : "enforced";
  const shown = { enforced: [enforced], both, draft: both.slice(1) }[side];
  const name = (one) => (one === enforced ? "enforced" : `draft ${draft}`);
  by("sides").hidden = !draft;
  for (const button of by("sides").children) button.setAttribute("aria-pressed", String(button.dataset.side === side));
  const into = by("panes");
  const of = `${side} ${draft}`;
  if (into.dataset.of !== of || !into.querySelector("svg.map")) {
    into.dataset.of = of;
    into.replaceChildren(...shown.map((one, at) => {
      const svg = s("svg", { class: "map", tabindex: at === 0 ? "0" : "-1", role: "group", "aria-roledescription": "map", "aria-label": `Map of dependencies, ${name(one)}. Arrow keys move between groups, Enter opens one, Escape goes back.` });
      zoom.listen(svg);
      svg.addEventListener("click", () => select(null));
      return h("div", { class: "pane" }, draft && h("h2", {}, name(one)), svg);
    }));
    zoom.fitted = true;
  }
  into.classList.toggle("stacked", shown.length > 1 && stacks(into, page.placed.size));
  const svgs = [...into.querySelectorAll("svg.map")];
  const focused = document.activeElement && document.activeElement.closest("svg.map [data-key]");
  const focus = focused && focused.dataset.key;
  svgs.forEach((svg, at) => { draw(svg, shown[at], on); mark(svg, shown[at], text); });
  zoom.show(svgs, page.seen.size);
  if (focus) element(svgs[0], focus)?.focus({ preventScroll: true });
  const more = by("more");
  const left = page.seen.hidden, out = model.map.left_out || {};
  more.replaceChildren(left > 0 ? h("button", { type: "button", onclick: () => { view.limit += GROUPS_AT_FIRST; zoom.fitted = true; render(); } }, `Show ${Math.min(left, GROUPS_AT_FIRST)} more of ${left} groups`) : "",
    view.limit > GROUPS_AT_FIRST ? h("button", { type: "button", onclick: () => { view.limit = GROUPS_AT_FIRST; zoom.fitted = true; render(); } }, "Show fewer") : "",
    out.edges ? h("span", {}, `${count(out.edges)} dependencies were left out; search or choose a shorter time`) : "");
}

/** Whether two panes show more of the world one below the other. */
function stacks({ clientWidth, clientHeight }, { width, height }) {
  const scale = (across, down) => Math.min((across - 68) / width, (down - 118) / Math.max(1, height));
  return scale(clientWidth, clientHeight / 2) > scale(clientWidth / 2, clientHeight);
}

/** Places are kept as long as the same groups and tiers are shown, so that nothing jumps while one looks. */
function settle(shown) {
  const [first] = shown;
  const open = (group) => (first.open.has(group) ? group.nodes.length : 0);
  const place = first.groups.map((group) => `${group.key}:${open(group)}`).sort().join("\n") + (first.lines.length > 0);
  if (place !== page.place) {
    const size = arrange(first);
    page.place = place;
    page.placed = { size, of: new Map(first.groups.map((group) => [group.key, { x: group.x, y: group.y, h: group.h }])) };
  } else {
    for (const group of first.groups) Object.assign(group, page.placed.of.get(group.key));
  }
  for (const one of shown) one.size = page.placed.size;
}

const element = (svg, key) => [...svg.querySelectorAll("[data-key]")].find((found) => found.dataset.key === key);

/** What is selected or searched for stands out, with what is next to it. */
function mark(svg, shown, text) {
  const chosen = shown.lines.find((line) => line.key === page.selected || line.key.replace(/ [a-z-]+$/, "") === (page.selected || "").replace(/ [a-z-]+$/, "")) || shown.groups.find((group) => group.key === page.selected);
  const near = new Set();
  if (chosen) {
    const lines = chosen.from ? [chosen] : shown.lines.filter((line) => groupOf(line.from) === chosen || groupOf(line.to) === chosen);
    for (const line of lines) near.add(line.key).add(groupOf(line.from).key).add(groupOf(line.to).key);
    near.add(chosen.key);
  } else if (text && text !== page.searched) {
    for (const group of shown.groups) if (holds(group, text) || group.nodes.some((node) => holds(node, text))) near.add(group.key);
    for (const line of shown.lines) {
      const ends = [groupOf(line.from).key, groupOf(line.to).key];
      if (ends.some((end) => near.has(end)) || line.services.some((service) => service.service.includes(text))) near.add(line.key);
    }
  }
  svg.classList.toggle("focused", near.size > 0 || (!!text && !chosen && text !== page.searched));
  for (const found of svg.querySelectorAll("[data-key]")) {
    found.classList.toggle("near", near.has(found.dataset.key));
    found.classList.toggle("here", !!chosen && found.dataset.key === chosen.key);
  }
}

function details(draft) {
  const found = find(page.selected), into = by("details");
  // What was asked in the panel stays while the same thing is shown; numbers are new when something else is selected.
  const shown = `${page.selected} ${draft} ${found ? found.flows : ""}`;
  if (page.selected && page.shown === shown) return;
  if (page.selected && page.shown && page.shown.startsWith(`${page.selected} ${draft} `) && into.querySelector(".said, .error")) return;
  page.shown = shown;
  const open = found && !found.from && page.seen.open.has(found);
  const focus = into.contains(document.activeElement) ? [...into.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  const parts = page.selected && !found ? [h("h2", {}, page.selected.replace(/ [a-z-]+$/, "")), h("p", { class: "hint" }, "It was not seen in this time, or its state is hidden.")]
    : found && found.from ? lineDetails(found, { draft, mayChange: page.caller.may_change, on })
    : found ? groupDetails(found, page.seen.lines, { on, open })
    : overview(page.model, draft ? seen(page.model, { ...view, draft: true }) : page.seen, { on, draft });
  into.replaceChildren(...parts.flat(9).filter(Boolean));
  if (focus >= 0) into.querySelectorAll("button")[focus]?.focus();
}

function complete(known) {
  const into = by("completeness");
  const lost = [known.missed ? `${count(known.missed)} events were missed` : "", known.gaps ? `the daemon was down ${known.gaps === 1 ? "once" : `${known.gaps} times`}` : ""].filter(Boolean).join(", ");
  into.textContent = `${known.complete ? "Complete" : `Incomplete: ${lost},`} from ${time(known.from)} to ${time(known.to)}`;
  into.classList.toggle("missed", !known.complete);
}

function banners() {
  const { status, error } = page, made = [];
  if (error instanceof Away && page.model) made.push(h("div", { class: "banner bad" }, h("p", {}, `The daemon does not answer. This is what was known ${ago(new Date(page.at).toISOString())}; asking again every ${Math.round(page.wait / 1000)} s.`), h("button", { type: "button", onclick: () => refresh(true) }, "Ask now")));
  else if (error && error.status !== 401 && page.model) made.push(h("div", { class: "banner bad" }, h("p", {}, error.message)));
  if (status && status.awaiting) made.push(change.waiting(status.awaiting));
  for (const notice of (status && status.notices) || []) made.push(h("div", { class: "banner" }, h("p", {}, notice)));
  const text = made.map((banner) => banner.textContent).join("\n");
  if (text.replace(/\d+/g, "") !== by("banners").textContent.replace(/\d+/g, "") || !by("banners").contains(document.activeElement)) by("banners").replaceChildren(...made);
}

function empty(heading, text, extra) {
  by("sides").hidden = true;
  page.place = "";
  by("map-view").hidden = false;
  by("table-view").hidden = true;
  if (by("panes").dataset.empty !== heading || !by("panes").querySelector(".empty")) by("panes").replaceChildren(h("div", { class: "empty" }, h("h2", {}, heading), h("p", {}, text), extra));
  by("panes").dataset.empty = heading;
}

function signInCard() {
  page.model = null;
  const field = h("input", { type: "text", name: "code", "aria-label": "Code", placeholder: "code", autocomplete: "off", spellcheck: "false" });
  const enter = async (event) => { event.preventDefault(); await enterWith(field.value.trim()); refresh(true); };
  empty("Sign in", "Run “ringfence page” on the daemon's host, as a user who may read or change policy, and open the address it prints; or enter its code here.", h("form", { onsubmit: enter }, field, h("button", { class: "main" }, "Sign in")));
  if (page.refused) by("banners").replaceChildren(h("div", { class: "banner bad" }, h("p", {}, page.refused)));
}

async function enterWith(code) {
  try {
    await signIn(code.replace(/^.*code=/, ""));
    page.refused = "";
  } catch (error) {
    page.refused = error.message;
  }
}

function showDraft(name) {
  if (![...by("draft").options].some((option) => option.value === name)) by("draft").append(h("option", { value: name }, name));
  by("draft").value = name;
  page.shown = null;
  refresh(true);
}

function tab(name) {
  page.tab = name;
  for (const one of ["details", "change"]) {
    by(one).hidden = one !== name;
    by(`tab-${one}`).setAttribute("aria-selected", String(one === name));
    by(`tab-${one}`).tabIndex = one === name ? 0 : -1;
  }
  if (name === "change") change.render();
  else page.shown = null;
}

function asTable(table) {
  page.table = table;
  by("as-map").setAttribute("aria-pressed", String(!table));
  by("as-table").setAttribute("aria-pressed", String(table));
  render();
}

function theme(next) {
  if (next) { document.documentElement.dataset.theme = next; localStorage.setItem("ringfence-theme", next); }
}

function openAll() {
  const open = page.seen.open.size === 0;
  for (const group of page.seen.groups) for (const [set, put] of [[view.opened, open], [view.closed, !open]]) put ? set.add(group.key) : set.delete(group.key);
  zoom.fitted = true;
  render();
}

function listen() {
  theme(localStorage.getItem("ringfence-theme"));
  const again = () => { page.place = ""; page.shown = null; zoom.fitted = true; refresh(true); };
  for (const id of ["by", "tier", "draft", "from", "to"]) by(id).addEventListener("change", () => { if (id === "by") page.selected = null; again(); });
  by("since").addEventListener("change", () => { by("range").hidden = by("since").value !== "custom"; again(); });
  by("search").addEventListener("input", () => {
    page.selected = null;
    page.shown = null;
    render();
    clearTimeout(page.searching);
    page.searching = setTimeout(searchAll, 300);
  });
  for (const button of by("sides").children) button.onclick = () => { page.side = button.dataset.side; render(); };
  by("tools").addEventListener("submit", (event) => event.preventDefault());
  by("as-map").onclick = () => asTable(false);
  by("as-table").onclick = () => asTable(true);
  by("skip").onclick = (event) => { event.preventDefault(); asTable(true); by("table-view").focus(); };
  by("zoom-in").onclick = () => zoom.by(1.25);
  by("zoom-out").onclick = () => zoom.by(0.8);
  by("zoom-fit").onclick = () => zoom.fit();
  by("open-all").onclick = openAll;
  by("sign-out").onclick = async () => { await signOut(); refresh(true); };
  by("theme").onclick = () => {
    const dark = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    theme(dark === "dark" ? "light" : "dark");
  };
  for (const name of ["details", "change"]) by(`tab-${name}`).onclick = () => { tab(name); render(); };
  for (const state of document.querySelectorAll(".state")) state.onclick = () => {
    const shown = view.states.has(state.dataset.state);
    shown ? view.states.delete(state.dataset.state) : view.states.add(state.dataset.state);
    state.setAttribute("aria-pressed", String(!shown));
    page.shown = null;
    render();
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  new ResizeObserver(() => { if (zoom.fitted && zoom.panes.length) zoom.fit(); }).observe(by("panes"));
  keys({ page, zoom, select, on, asTable, openAll, tab, render, width: WIDTH, element });
}

/** Signs in with the code of the address, which may come to a page that is open already. */
async function arrive() {
  const code = codeInAddress();
  if (code) await enterWith(code);
  refresh(true);
}

listen();
addEventListener("hashchange", arrive);
arrive();
