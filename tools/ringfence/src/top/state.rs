//! What the user chose: pane, order, filter; and what each key does.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Model, Pane};

/// The shortest and the longest time between two looks that keys choose.
const INTERVALS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(60)];

/// The keys, for the help.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("Tab, 1-5", "the next table, or one of them"),
    ("Enter, z", "that table alone, and back"),
    ("s, S", "sort by the next column, the one before"),
    ("r", "the other way round"),
    ("/", "only rows with a text; Enter ends, Esc clears"),
    ("Up, Down, PgUp, PgDn", "scroll"),
    ("p, Space", "stop the picture, and go on"),
    ("+, -", "look less often, more often"),
    ("?, h", "this help"),
    ("q, Esc, ^C", "quit"),
];

/// What a key asks for beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Draw again.
    Draw,
    /// Ask the daemon as often as this.
    Every(Duration),
    Quit,
}

/// How one pane is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct View {
    /// The column it is sorted by, if the user chose one.
    pub(super) column: Option<usize>,
    pub(super) reversed: bool,
    /// Rows above the first that is shown.
    pub(super) scroll: usize,
}

/// What is shown, and how.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pane: Pane,
    /// The chosen pane alone.
    pub(super) alone: bool,
    pub(super) views: [View; 5],
    pub(super) filter: String,
    /// Whether keys go to the filter.
    pub(super) typing: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) interval: Duration,
}

impl State {
    pub(super) fn new(filter: &str) -> Self {
        Self {
            pane: Pane::Flows,
            alone: false,
            views: [View::default(); 5],
            filter: filter.to_owned(),
            typing: false,
            paused: false,
            help: false,
            interval: Duration::from_secs(1),
        }
    }

    pub(super) const fn view(&self, pane: Pane) -> View {
        self.views[pane as usize]
    }

    /// The order of a pane: column, and whether it is the other way round.
    pub(super) fn order(&self, model: &Model, pane: Pane) -> (usize, bool) {
        let view = self.view(pane);
        (view.column.unwrap_or(model.grid(pane).first_sort), view.reversed)
    }

    /// Does what a key asks for.
    pub(super) fn key(&mut self, key: KeyEvent, model: &Model) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c' | 'q')) { Action::Quit } else { Action::Draw };
        }
        if self.typing {
            self.type_key(key.code);
            return Action::Draw;
        }
        if self.help {
            self.help = false;
            return if key.code == KeyCode::Char('q') { Action::Quit } else { Action::Draw };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Char('z') | KeyCode::Enter => self.alone = !self.alone,
            KeyCode::Char('r') => self.views[self.pane as usize].reversed ^= true,
            KeyCode::Char('s') => self.sort(model, 1),
            KeyCode::Char('S') => self.sort(model, -1),
            KeyCode::Char('+') => return self.every(self.interval * 2),
            KeyCode::Char('-') => return self.every(self.interval / 2),
            KeyCode::Char(digit @ '1'..='5') => self.pane = Pane::ALL[digit as usize - '1' as usize],
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(4),
            KeyCode::Up => self.scroll(|at| at.saturating_sub(1)),
            KeyCode::Down => self.scroll(|at| at.saturating_add(1)),
            KeyCode::PageUp => self.scroll(|at| at.saturating_sub(10)),
            KeyCode::PageDown => self.scroll(|at| at.saturating_add(10)),
            KeyCode::Home => self.scroll(|_| 0),
            _ => {}
        }
        Action::Draw
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            // As long as a name may be.
            KeyCode::Char(letter) if self.filter.len() < 256 => self.filter.push(letter),
            _ => {}
        }
        self.views.iter_mut().for_each(|view| view.scroll = 0);
    }

    fn turn(&mut self, by: usize) {
        self.pane = Pane::ALL[(self.pane as usize + by) % Pane::ALL.len()];
    }

    fn scroll(&mut self, to: impl Fn(usize) -> usize) {
        let view = &mut self.views[self.pane as usize];
        view.scroll = to(view.scroll);
    }

    fn sort(&mut self, model: &Model, by: isize) {
        let columns = model.grid(self.pane).columns.len();
        let (column, _) = self.order(model, self.pane);
        let next = if by > 0 { column + 1 } else { column + columns - 1 };
        let view = &mut self.views[self.pane as usize];
        *view = View { column: Some(next % columns), reversed: false, scroll: 0 };
    }

    fn every(&mut self, interval: Duration) -> Action {
        self.interval = interval.clamp(INTERVALS[0], INTERVALS[1]);
        Action::Every(self.interval)
    }
}
