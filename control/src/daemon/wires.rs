//! The wires of the configuration.

use std::fmt;
use std::sync::Arc;

use dataplane::flow::FlowTable;

use crate::config::Config;
use crate::engine::{Engine, Wake};
use crate::observe::worker::Worker;
use crate::socket::view::WireView;

/// Why a wire could not be opened.
#[derive(Debug)]
pub struct WireFault(String);

impl fmt::Display for WireFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All wires; shared.
#[derive(Clone)]
pub struct Wires;

impl Wires {
    pub(super) fn plan(config: &Config) -> Result<Self, WireFault> {
        if config.wires.is_empty() { Ok(Self) } else { Err(WireFault("this build opens no wires".into())) }
    }
    pub(super) fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }
    pub(super) fn wake(&self) -> Wake {
        Box::new(|| ())
    }
    pub(super) fn open(&self, _config: &Config, _engine: &Arc<Engine>) -> Result<(), WireFault> {
        Ok(())
    }
    pub(super) fn close(&self) {}
    pub(crate) fn flows(&self) -> Option<Arc<FlowTable>> {
        None
    }
    pub(crate) fn view(&self) -> Vec<WireView> {
        Vec::new()
    }
}
