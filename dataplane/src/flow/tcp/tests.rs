//! TCP sequences against the verdicts of Linux conntrack 6.18.

use super::*;
use crate::headers::Ports;

mod corpus;
mod linux;
mod rules;

const CLIENT: Orientation = Orientation::FromFirst;
const SERVER: Orientation = Orientation::FromSecond;

/// One segment: who sends it, flags, sequence, acknowledgement, payload, window, window scale.
type Row = (char, &'static str, u32, u32, u16, u16, Option<u8>);

fn flags_of(text: &str) -> u8 {
    text.chars().fold(0, |bits, letter| {
        bits | match letter {
            'F' => flags::FIN,
            'S' => flags::SYN,
            'R' => flags::RST,
            'P' => flags::PSH,
            'A' => flags::ACK,
            _ => panic!("no flag {letter}"),
        }
    })
}

fn segment(
    (side, text, sequence, acknowledgement, payload, window, window_scale): Row,
) -> (Orientation, Tcp) {
    let tcp = Tcp {
        ports: Ports { source: 1, destination: 2 },
        sequence,
        acknowledgement,
        flags: flags_of(text),
        window,
        window_scale,
        payload,
    };
    (if side == 'c' { CLIENT } else { SERVER }, tcp)
}

/// A flow table of one TCP flow: opens, steps and reopens as the pipeline does, all allowed.
#[derive(Default)]
struct Tracker {
    connection: Option<Connection>,
    mode: Mode,
}

impl Tracker {
    fn take(&mut self, row: Row) -> Result<Step, DropReason> {
        let (from, tcp) = segment(row);
        let step = match &mut self.connection {
            Some(connection) => connection.step(from, &tcp)?,
            None => Step::Reopen,
        };
        if step == Step::Reopen {
            self.connection = Some(Connection::open(&tcp, from, self.mode)?);
        }
        Ok(step)
    }

    fn phase(&self) -> Phase {
        self.connection.unwrap().phase
    }
}
