//! `ringfence top`: the daemon at work, live: rates, workers, flows, drops and rules.
//!
//! A thread asks the daemon once an interval; what is shown is the difference of its last two answers. The terminal
//! is given back on every way out: `q`, ^C, a signal, an error, a panic.

mod draw;
mod grid;
mod load;
mod model;
mod sample;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::cli::{ReadArgs, print};
use crate::outcome::{Failure, Outcome};
use model::Model;
use sample::Sample;
use state::State;

/// Shortest time between two looks.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Columns and rows of a frame that is printed where there is no terminal.
const SIZE: (u16, u16) = (100, 40);

/// Arguments of `top`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// How often to look: 500ms, 1s, 10s; 100ms at least.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::cli::time)]
    interval: Duration,
    /// Print one frame as text and end; takes one interval.
    #[arg(long)]
    once: bool,
    /// Show only rows that hold this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// With --once: columns and rows of the frame; the terminal's unless told, or 100x40 without one.
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = size, requires = "once")]
    size: Option<(u16, u16)>,
    #[command(flatten)]
    read: ReadArgs,
}

/// `80x24`.
fn size(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    match parts {
        Some(size @ (40..=1000, 10..=1000)) => Ok(size),
        _ => Err("write columns and rows, 40x10 to 1000x1000, such as 80x24".into()),
    }
}

/// Shows it until somebody has seen enough.
pub(crate) fn run(args: &Args) -> Outcome {
    if args.interval < INTERVAL_MIN {
        return Err(Failure::Usage("--interval must be at least 100ms".into()));
    }
    let socket: PathBuf = args.read.daemon.socket.clone();
    if args.once || args.read.json {
        return once(args, &socket);
    }
    let first = Sample::read(&socket)?;
    terminal::live(&socket, args.interval, State::new(&args.filter), first)
}

/// One frame, or the same as JSON.
fn once(args: &Args, socket: &std::path::Path) -> Outcome {
    let first = Sample::read(socket)?;
    std::thread::sleep(args.interval);
    let mut model = Model::between(&first, &Sample::read(socket)?);
    if args.read.json {
        return print::json(&model.json(&args.filter));
    }
    let (width, height) = args.size.unwrap_or_else(|| crossterm::terminal::size().unwrap_or(SIZE));
    let mut state = State::new(&args.filter);
    print::out(&frame(&mut model, &mut state, width, height)?)
}

/// A frame as text, without colours and without spaces at the ends of its lines.
fn frame(model: &mut Model, state: &mut State, width: u16, height: u16) -> Result<String, Failure> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(Failure::failed)?;
    terminal.draw(|frame| draw::draw(frame, model, state)).map_err(Failure::failed)?;
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..height {
        let line: String = (0..width).map(|column| buffer[(column, row)].symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    Ok(text.trim_end().to_owned() + "\n")
}
