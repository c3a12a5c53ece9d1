// Moving and scaling: one view for both panes, so that the draft stands beside the enforced policy point by point.
const LEAST = 0.08, MOST = 2.5;
/** Below this scale only names are drawn. */
const FAR = 0.5;

export class Zoom {
  constructor(changed) {
    this.changed = changed;
    this.at = { x: 0, y: 0, k: 1 };
    this.panes = [];
    this.size = { width: 1, height: 1 };
    this.fitted = true;
  }

  /** The SVG elements that show the world, and its size. */
  show(panes, size) {
    this.panes = panes;
    this.size = size;
    if (this.fitted) this.fit();
    else this.apply();
  }

  apply() {
    const { x, y, k } = this.at;
    for (const svg of this.panes) {
      svg.querySelector(".world")?.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
      svg.classList.toggle("far", k < FAR);
    }
  }

  fit() {
    const box = this.panes[0]?.getBoundingClientRect();
    if (!box || !box.width) return;
    const top = 58, edge = 34;
    const k = Math.min((box.width - 2 * edge) / this.size.width, (box.height - top - 60) / Math.max(1, this.size.height), 1.15);
    this.at = { k: Math.max(LEAST, k), x: 0, y: 0 };
    this.at.x = (box.width - this.size.width * this.at.k) / 2;
    this.at.y = top + Math.max(0, (box.height - top - 60 - this.size.height * this.at.k) / 2);
    this.fitted = true;
    this.apply();
  }

  by(factor, px, py) {
    const box = this.panes[0].getBoundingClientRect();
    const [cx, cy] = px === undefined ? [box.width / 2, box.height / 2] : [px, py];
    const k = Math.min(MOST, Math.max(LEAST, this.at.k * factor));
    const real = k / this.at.k;
    this.at = { k, x: cx - (cx - this.at.x) * real, y: cy - (cy - this.at.y) * real };
    this.fitted = false;
    this.apply();
  }

  move(dx, dy) {
    this.at.x += dx;
    this.at.y += dy;
    this.fitted = false;
    this.apply();
  }

  /** Brings a group into sight. */
  reveal(group, width) {
    const box = this.panes[0].getBoundingClientRect();
    const { x, y, k } = this.at;
    const left = group.x * k + x, top = group.y * k + y, right = left + width * k, bottom = top + group.h * k;
    const dx = left < 20 ? 20 - left : right > box.width - 20 ? box.width - 20 - right : 0;
    const dy = top < 60 ? 60 - top : bottom > box.height - 50 ? box.height - 50 - bottom : 0;
    if (dx || dy) this.move(dx, dy);
  }

  /** Mouse, pen and touch on one pane. */
  listen(svg) {
    svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      this.by(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    const fingers = new Map();
    svg.addEventListener("pointerdown", (event) => { fingers.set(event.pointerId, event); this.dragged = false; });
    // The end of a drag is no click.
    svg.addEventListener("click", (event) => { if (this.dragged) event.stopImmediatePropagation(); }, true);
    svg.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      if (Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY) < 3) return;
      if (!svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
      svg.classList.add("moving");
      this.dragged = true;
      if (fingers.size === 2) {
        const [a, b] = [...fingers.values()].map((finger) => (finger.pointerId === event.pointerId ? before : finger));
        const other = a === before ? b : a;
        const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        const box = svg.getBoundingClientRect();
        this.by(distance(event) / Math.max(1, distance(before)), other.clientX - box.left, other.clientY - box.top);
      } else {
        this.move(event.clientX - before.clientX, event.clientY - before.clientY);
      }
      fingers.set(event.pointerId, event);
    });
    const end = (event) => { fingers.delete(event.pointerId); svg.classList.remove("moving"); };
    svg.addEventListener("pointerup", end);
    svg.addEventListener("pointercancel", end);
  }
}
