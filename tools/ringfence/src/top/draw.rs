//! One frame.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Row, Table};

use super::grid::{Cell, Grid};
use super::model::{Model, Pane};
use super::state::{KEYS, State};

/// Rows of the wires' and of the workers' tables on a small screen; a fifth of a larger one.
const FEW: u16 = 4;
/// The least that a column of words has.
const SHARE_MIN: u16 = 10;
/// From this width on, rules have more room than drops, whose names are short.
const SIDE_BY_SIDE: u16 = 70;

/// Draws everything; sorts what it draws.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, state: &mut State) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    heading(frame, head, model, state);
    for (pane, area) in places(body, model, state) {
        grid(frame, area, model, state, pane);
    }
    frame.render_widget(Paragraph::new(footing(state)), foot);
    if state.help {
        help(frame);
    }
}

fn heading(frame: &mut Frame<'_>, area: Rect, model: &Model, state: &State) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut title = vec![Span::styled(model.title.clone(), bold)];
    if state.paused {
        title.push(Span::styled("  PAUSED", bold.fg(colour(Color::Yellow))));
    }
    let second = match &model.alarm {
        Some(alarm) => Line::styled(alarm.clone(), bold.fg(colour(Color::Red))),
        None => Line::raw(model.totals.clone()),
    };
    frame.render_widget(Paragraph::new(vec![Line::from(title), second]), area);
}

fn footing(state: &State) -> Line<'static> {
    let filter = match (state.typing, state.filter.as_str()) {
        (true, text) => format!("show rows with: {text}_"),
        (false, "") => String::new(),
        (false, text) => format!("rows with `{text}`"),
    };
    let keys = if state.typing { "" } else { "? help  Tab table  s sort  / filter  p pause  q quit  " };
    let dim = Style::new().add_modifier(Modifier::DIM);
    Line::from(vec![Span::styled(keys, dim), Span::raw(filter)])
}

/// Where each pane is.
fn places(area: Rect, model: &Model, state: &State) -> Vec<(Pane, Rect)> {
    if state.alone {
        return vec![(state.pane, area)];
    }
    let rows = |pane| model.grid(pane).rows.len();
    // A line of headings above each.
    let few = FEW.max(area.height / 5);
    let length = |rows: usize| Constraint::Length(u16::try_from(rows.max(1)).unwrap_or(few).min(few) + 1);
    let below = (rows(Pane::Drops).max(rows(Pane::Rules))).clamp(3, 8) + 1;
    let below = Constraint::Length(u16::try_from(below).unwrap_or(4));
    let constraints = [length(rows(Pane::Wires)), length(rows(Pane::Workers)), Constraint::Min(4), below];
    let [wires, workers, flows, last] = Layout::vertical(constraints).areas(area);
    let halves = if area.width >= SIDE_BY_SIDE { [45, 55] } else { [50, 50] };
    let [drops, rules] = Layout::horizontal(halves.map(Constraint::Percentage)).spacing(2).areas(last);
    Pane::ALL.into_iter().zip([wires, workers, flows, drops, rules]).collect()
}

/// Colours only where they are wanted (no-color.org); nothing is said by colour alone.
fn colour(colour: Color) -> Color {
    if std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()) { colour } else { Color::Reset }
}

fn grid(frame: &mut Frame<'_>, area: Rect, model: &mut Model, state: &mut State, pane: Pane) {
    let (column, reversed) = state.order(model, pane);
    model.grid_mut(pane).sort(column, reversed);
    let grid = model.grid(pane);
    let chosen = state.pane == pane;
    let visible = usize::from(area.height.saturating_sub(1));
    let matching: Vec<&Vec<Cell>> = grid.matching(&state.filter).collect();
    // Scrolling ends with the last row.
    let scroll = state.view(pane).scroll.min(matching.len().saturating_sub(visible));
    state.views[pane as usize].scroll = scroll;
    let widths = widths(grid, area.width);
    let shown = matching.iter().skip(scroll).take(visible);
    let rows = shown.map(|row| {
        let cells = row.iter().zip(&widths).enumerate();
        Row::new(cells.map(|(at, (cell, width))| fit(cell, at, *width)).collect::<Vec<String>>())
    });
    let mut heading = Style::new().add_modifier(Modifier::REVERSED);
    if chosen {
        heading = heading.add_modifier(Modifier::BOLD).fg(colour(Color::Cyan));
    }
    let titles = grid.columns.iter().zip(&widths).enumerate().map(|(at, (one, width))| {
        let mark = match (at == column, reversed) {
            (false, _) => "",
            (true, false) => "v",
            (true, true) => "^",
        };
        // How many rows there are, where they do not all fit.
        let more =
            if at == 0 && matching.len() > visible { format!(" {}", matching.len()) } else { String::new() };
        let text = Cell::Text(format!("{mark}{}{more}", one.title));
        if at == 0 || is_wordy(grid, at) { fit(&text, 0, *width) } else { fit_right(&text.text(), *width) }
    });
    let header = Row::new(titles.collect::<Vec<String>>()).style(heading);
    let table = Table::new(rows, widths.iter().map(|width| Constraint::Length(*width))).header(header);
    frame.render_widget(table, area);
}

/// Whether a column holds words.
fn is_wordy(grid: &Grid, column: usize) -> bool {
    grid.rows.first().is_some_and(|row| matches!(row[column], Cell::Text(_)))
}

/// Columns of a known width have it; the others share what is left. The last ones give way if that is too little.
fn widths(grid: &Grid, width: u16) -> Vec<u16> {
    let mut columns = grid.columns;
    loop {
        let gaps = u16::try_from(columns.len()).unwrap_or(1) - 1;
        let known: u16 = columns.iter().map(|column| column.width).sum();
        let open = u16::try_from(columns.iter().filter(|column| column.width == 0).count()).unwrap_or(1);
        let share = width.saturating_sub(known + gaps) / open.max(1);
        if share < SHARE_MIN && columns.len() > 2 {
            columns = &columns[..columns.len() - 1];
            continue;
        }
        let share = share.max(1);
        return columns.iter().map(|column| if column.width == 0 { share } else { column.width }).collect();
    }
}

/// A cell in its width: words to the left, numbers to the right, what is too long marked as cut.
fn fit(cell: &Cell, column: usize, width: u16) -> String {
    let text = cell.text();
    let width = usize::from(width);
    let letters = text.chars().count();
    if letters > width {
        let kept: String = text.chars().take(width.saturating_sub(1)).collect();
        return format!("{kept}~");
    }
    if column == 0 || matches!(cell, Cell::Text(_)) { text } else { format!("{text:>width$}") }
}

fn fit_right(text: &str, width: u16) -> String {
    let width = usize::from(width);
    let kept: String = text.chars().take(width).collect();
    format!("{kept:>width$}")
}

fn help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = area.width.min(78);
    let height = area.height.min(u16::try_from(KEYS.len() + 2).unwrap_or(12));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let lines: Vec<Line<'_>> = KEYS.iter().map(|(key, does)| Line::raw(format!(" {key:22}{does}"))).collect();
    frame.render_widget(Clear, place);
    let block = Block::new().borders(Borders::ALL).title(" keys; any key goes back ");
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
