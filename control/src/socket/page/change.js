// From what was seen to policy: propose a rule, stage a draft, see it coloured, simulate it, publish it with a deadline,
// confirm it or go back. Everything here is the public API; the daemon refuses what the caller may not do.
import { ask } from "./api.js";
import { ago, by, bytes, count, h } from "./dom.js";
import { propose, TIGHTNESS } from "./propose.js";

const EMPTY = "ringfence: 1\nrules:\n";

export class Change {
  constructor({ page, refresh, showDraft, tab }) {
    Object.assign(this, { page, refresh, showDraft, tab });
    /** What is being written: a name, a reason, and all files of the policy it would be. */
    this.editor = null;
    this.said = new Map();
  }

  get mayChange() {
    return !!this.page.caller.may_change;
  }

  /** Does `work`, shows what it says at `place`, and what went wrong in the daemon's own words. */
  async act(place, work) {
    this.said.set(place, h("p", { class: "hint" }, "asking …"));
    this.render();
    try {
      this.said.set(place, (await work()) || null);
    } catch (error) {
      this.said.set(place, refusal(error));
    }
    this.render(true);
  }

  render(now) {
    const into = by("change");
    if (into.hidden) return;
    const { status } = this.page;
    const state = JSON.stringify([status && status.drafts, status && status.policy, this.mayChange, by("draft").value, this.history, !!this.editor, [...this.said.keys()]]);
    // Whoever writes is not disturbed by an answer that came meanwhile.
    if (!now && this.state === state) return;
    if (!now && into.contains(document.activeElement) && /^(TEXTAREA|INPUT|SELECT)$/.test(document.activeElement.tagName)) return;
    this.state = state;
    const focus = into.contains(document.activeElement) && document.activeElement.textContent;
    into.replaceChildren(...[this.rights(), this.drafts(status ? status.drafts : []), this.writing(), this.past()].flat(9).filter(Boolean));
    if (focus) [...into.querySelectorAll("button")].find((button) => button.textContent === focus)?.focus();
  }

  rights() {
    return !this.mayChange && h("p", { class: "hint" }, "You may look and simulate. Staging and publishing need a user with the right to change: `ringfence page` run by one.");
  }

  drafts(drafts) {
    const shown = by("draft").value;
    const none = h("p", { class: "hint" }, "No draft is staged. A draft is decided beside the policy in force, packet by packet, and never touches one.");
    return h("section", { class: "drafts" }, h("h3", {}, "Drafts"), drafts.length ? drafts.map((draft) => this.draft(draft, shown === draft.name)) : none);
  }

  draft(draft, shown) {
    const { name } = draft, place = `draft ${name}`;
    const button = (text, work, attributes = {}) => h("button", { type: "button", ...attributes, onclick: work }, text);
    return h("article", { class: "service", "data-draft": name },
      h("header", {}, h("span", {}, name), h("span", { class: "small" }, `${draft.rules} rules`)),
      draft.message && h("p", { class: "small" }, draft.message),
      h("p", { class: "small" }, `asked ${count(draft.decisions)} times since it was staged`),
      h("div", { class: "actions" },
        button(shown ? "Hide on the map" : "Show on the map", () => this.showDraft(shown ? "" : name)),
        button("Simulate", () => this.act(place, async () => simulation(await ask("/v1/policy/simulate", { method: "POST", body: { draft: name } })))),
        this.mayChange && name !== "staged" && button("Publish …", () => this.publish(draft), { class: "main" }),
        this.mayChange && name !== "staged" && button("Drop", () => this.act(place, async () => {
          await ask(`/v1/policy/drafts/${encodeURIComponent(name)}`, { method: "DELETE" });
          if (shown) this.showDraft("");
          await this.refresh();
        }), { class: "danger" })),
      this.said.get(place));
  }

  /** Asks for the smallest rules that allow what was seen between two ends, and opens them in the editor. */
  async propose(service, into) {
    into.replaceChildren(h("p", { class: "hint" }, "asking …"));
    try {
      await this.write(await propose(service, "tier"));
      Object.assign(this.editor, { service, tightness: "tier", proposal: this.editor.file });
      this.tab("change");
      this.render(true);
      by("change").querySelector("textarea")?.scrollIntoView({ block: "nearest" });
      by("change").querySelector("textarea")?.focus();
      into.replaceChildren();
    } catch (error) {
      into.replaceChildren(refusal(error));
    }
  }

  /** Opens the policy in force in the editor, with a file of its own for `found` or for what is to be written. */
  async write(found) {
    let { files } = this.editor || {};
    if (!files) files = (await ask("/v1/policy")).files.map((file) => ({ ...file }));
    const name = (found && found.name) || "proposed.yaml";
    const free = (n) => (n > 1 ? name.replace(/(\.ya?ml)?$/, `-${n}$1`) : name);
    let n = 1;
    while (files.some((file) => file.name === free(n))) n++;
    const file = { name: free(n), text: found ? found.text : EMPTY };
    this.editor = { name: "next", message: "", ...this.editor, files: [...files, file], file: file.name };
    if (found) Object.assign(this.editor, { message: this.editor.message || found.message, told: found.told });
    this.said.delete("editor");
  }

  /** The same proposal, tighter or wider, in place of what was proposed. */
  tighten(tightness) {
    const { editor } = this;
    return this.act("editor", async () => {
      const found = await propose(editor.service, tightness);
      editor.files.find((file) => file.name === editor.proposal).text = found.text;
      Object.assign(editor, { tightness, told: found.told, file: editor.proposal });
    });
  }

  writing() {
    const { editor } = this;
    if (!editor) {
      return h("section", {}, h("h3", {}, "New draft"), h("p", { class: "hint" }, "Choose “Propose a rule” at a service, or begin with the policy in force."),
        h("div", { class: "actions" }, h("button", { type: "button", onclick: () => this.act("editor", () => this.write(null)) }, "Write a draft")), this.said.get("editor"));
    }
    const file = editor.files.find((one) => one.name === editor.file);
    const field = (label, input) => h("label", { class: "field" }, label, input);
    const sent = () => editor.files.filter((one) => one.text.trim() !== EMPTY.trim());
    return h("section", { class: "editor" }, h("h3", {}, "New draft"), editor.told && h("p", { class: "hint" }, editor.told),
      h("div", { class: "pair" },
        field("Name", h("input", { value: editor.name, name: "name", spellcheck: "false", oninput: (event) => { editor.name = event.target.value; } })),
        field("File", h("select", { onchange: (event) => { editor.file = event.target.value; event.target.blur(); this.render(true); } }, editor.files.map((one) => h("option", { selected: one === file }, one.name))))),
      editor.service && field("Rules select by", h("select", { name: "tightness", onchange: (event) => { event.target.blur(); this.tighten(event.target.value); } },
        TIGHTNESS.map(([value, text]) => h("option", { value, selected: value === editor.tightness }, text)))),
      field("Policy", fileArea(file)),
      field("Why", h("input", { value: editor.message, name: "message", oninput: (event) => { editor.message = event.target.value; } })),
      h("div", { class: "actions" },
        this.mayChange && h("button", { type: "button", class: "main", onclick: () => this.act("editor", async () => {
          await ask("/v1/policy/drafts", { method: "POST", body: { name: editor.name, message: editor.message, files: sent() } });
          this.editor = null;
          this.showDraft(editor.name);
          return h("p", { class: "good" }, `Draft ${editor.name} is staged and on the map.`);
        }) }, "Stage it"),
        h("button", { type: "button", onclick: () => this.act("editor", async () => {
          const checked = await ask("/v1/policy/check", { method: "POST", body: { files: sent() } });
          return h("p", { class: "good" }, `It could be published: ${checked.rules} rules, ${checked.workloads} workloads.`);
        }) }, "Check"),
        h("button", { type: "button", onclick: () => this.act("editor", async () => simulation(await ask("/v1/policy/simulate", { method: "POST", body: { files: sent() } }))) }, "Simulate"),
        h("button", { type: "button", onclick: () => { this.editor = null; this.said.delete("editor"); this.render(true); } }, "Discard")),
      this.said.get("editor"));
  }

  past() {
    const current = this.page.status && this.page.status.policy;
    if (!current) return null;
    if (this.historyOf !== current.epoch) {
      this.historyOf = current.epoch;
      ask("/v1/policy/history").then((answer) => { this.history = answer.history.slice(0, 6); this.render(); }).catch(() => null);
    }
    const rows = (this.history || []).map((old) => h("div", { class: "pair" },
      h("p", { class: "small hint" }, `epoch ${old.epoch}${old.epoch === current.epoch ? ", in force" : ""}: ${old.message || old.publication || ""}`),
      this.mayChange && old.epoch !== current.epoch && h("button", { type: "button", onclick: () => this.act("past", async () => {
        const back = await ask("/v1/policy/rollback", { method: "POST", body: { epoch: old.epoch } });
        await this.refresh();
        return h("p", { class: "good" }, `Epoch ${back.epoch} is in force: the policy of epoch ${old.epoch}.`);
      }) }, "Roll back to it")));
    return h("section", {}, h("h3", {}, "History"), rows, this.said.get("past"));
  }

  /** The last look before a draft is in force. */
  publish(draft) {
    const within = h("select", { name: "within" }, [[600000, "10 minutes"], [3600000, "1 hour"], ["", "stays without confirmation"]].map(([value, text]) => h("option", { value }, text)));
    const message = h("input", { value: draft.message || "", name: "message" });
    const spare = h("input", { type: "checkbox", name: "spare" });
    const said = h("div", { "aria-live": "polite" });
    const epoch = this.page.status.policy && this.page.status.policy.epoch;
    const dialog = h("dialog", { "aria-labelledby": "publish-title" });
    const send = async (event) => {
      event.preventDefault();
      said.replaceChildren(h("p", { class: "hint" }, "publishing …"));
      try {
        await ask("/v1/policy", { method: "POST", body: { draft: draft.name, message: message.value, if_epoch: epoch, confirm_within_ms: within.value ? Number(within.value) : undefined, max_cut: spare.checked ? 0 : undefined } });
        dialog.close();
        this.showDraft("");
        this.said.set("past", h("p", { class: "good" }, `${draft.name} is in force.`));
        this.historyOf = null;
      } catch (error) {
        said.replaceChildren(refusal(error));
      }
    };
    dialog.append(h("form", { onsubmit: send }, h("h2", { id: "publish-title" }, `Publish ${draft.name}?`),
      h("p", { class: "hint" }, "Every worker decides by it before the answer comes; live flows that it no longer allows are cut at their next packet."),
      h("label", { class: "field" }, "Goes back by itself unless confirmed within", within), h("label", { class: "field" }, "Why", message),
      h("label", {}, spare, " refuse if it would end a live flow"), said,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), h("button", { class: "main" }, "Publish"))));
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  }

  /** The banner while a policy waits to be confirmed. */
  waiting(awaiting) {
    const left = Math.ceil(awaiting.left_ms / 1000);
    const send = (path, body) => async () => {
      try {
        await ask(path, { method: "POST", body });
        this.historyOf = null;
      } catch (error) {
        by("said").textContent = error.message;
      }
      this.refresh();
    };
    return h("div", { class: "banner waiting" },
      h("p", {}, h("b", {}, `Epoch ${awaiting.epoch} waits to be confirmed.`), ` ${left >= 120 ? `${Math.round(left / 60)} min` : `${left} s`} left, then epoch ${awaiting.revert_to} comes back.`),
      this.mayChange && [h("button", { type: "button", class: "main", onclick: send("/v1/policy/confirm", { epoch: awaiting.epoch }) }, "Confirm"),
        h("button", { type: "button", onclick: send("/v1/policy/rollback", { epoch: awaiting.revert_to }) }, "Go back now")]);
  }
}

function fileArea(file) {
  const area = h("textarea", { spellcheck: "false", "aria-label": file.name, oninput: (event) => { file.text = event.target.value; } });
  area.value = file.text;
  return area;
}

/** An error as the daemon tells it, with every fault's place. */
export function refusal(error) {
  const faults = (error.details && error.details.diagnostics) || [];
  const places = faults.slice(0, 12).map((fault) => `${fault.file}:${fault.line}:${fault.column}: ${fault.message}`);
  return h("p", { class: "error", role: "alert" }, places.length ? places.join("\n") : error.message);
}

function simulation(found) {
  const { recorded } = found;
  const row = (change) => h("li", {}, `${change.becomes}: ${change.from || "no labels"} → ${change.to || "no labels"} ${change.service}, ${count(change.flows)} flows (${change.old_rule} ⇒ ${change.new_rule})`);
  return h("div", { class: "said simulation" },
    h("p", {}, h("b", {}, `${count(found.allowed)} recorded flows would become allowed, ${count(found.denied)} denied; ${count(found.cut)} of ${count(found.live)} live flows would be cut.`)),
    h("p", { class: "hint" }, `Of ${count(recorded.flows)} flows since ${ago(recorded.from)}${recorded.missed ? `; ${count(recorded.missed)} events were missed` : ""}.`),
    found.changes.length > 0 && h("ul", {}, found.changes.slice(0, 12).map(row)),
    found.cuts.length > 0 && [h("h3", {}, "Live flows"), h("ul", {}, found.cuts.slice(0, 8).map((cut) => h("li", {}, `${cut.on_revoke}: ${cut.from} → ${cut.to} ${cut.service}, ${count(cut.flows)} flows, ${bytes(cut.bytes)}`)))]);
}
