//! What every act needs: the network, the servers on it, whoever enforces, and the report.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lab::Namespace;

use super::error::DemoError;
use super::interrupt::Interrupt;
use super::question::Question;
use super::report::{Expectation, Report};
use super::topology::{Family, HOSTS, Host, Network};
use super::traffic::echo::EchoServer;
use super::traffic::probe::{Answer, BRIEF, PATIENT};
use super::traffic::witness::Witness;

/// Who stands between the hosts, and can be asked what it did. The daemon; in tests, also a plain bridge.
pub(crate) trait Enforcer {
    /// The rule that the live flow from `source` to `destination` was let in by.
    fn let_in_by(&self, source: IpAddr, destination: IpAddr, service: &str) -> Result<String, DemoError>;

    /// Why packets from `source` to `destination` were dropped since `before`: each reason and rule whose count
    /// grew.
    fn dropped_by(
        &self,
        source: IpAddr,
        destination: IpAddr,
        service: &str,
        before: &Drops,
    ) -> Result<String, DemoError>;

    /// Everything dropped so far.
    fn drops(&self) -> Result<Drops, DemoError>;
}

/// Counts of drops, by what the enforcer tells them apart.
pub(crate) type Drops = BTreeMap<String, u64>;

/// The stage.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) network: &'a Network,
    pub(crate) report: Report,
    pub(crate) interrupt: Interrupt,
    _servers: Vec<EchoServer>,
}

impl<'a> Stage<'a> {
    /// Starts the servers of every host.
    pub(crate) fn set(network: &'a Network, report: Report, interrupt: Interrupt) -> Result<Self, DemoError> {
        let mut servers = Vec::new();
        for host in HOSTS {
            let server = EchoServer::start(network.of(host))?;
            servers.push(server.map_err(|error| DemoError::Io("start a server of the demo", error))?);
        }
        Ok(Self { network, report, interrupt, _servers: servers })
    }

    /// The namespace of a host.
    pub(crate) fn of(&self, host: Host) -> &Namespace {
        self.network.of(host)
    }

    /// Announces an act, unless it is time to go.
    pub(crate) fn act(&self, title: &str) -> Result<(), DemoError> {
        self.report.act(title);
        self.alive()
    }

    /// An error if somebody interrupted.
    pub(crate) fn alive(&self) -> Result<(), DemoError> {
        if self.interrupt.is_set() { Err(DemoError::Interrupted) } else { Ok(()) }
    }

    /// Records an expectation.
    pub(crate) fn expect(
        &mut self,
        tried: impl Into<String>,
        expected: impl Into<String>,
        happened: impl Into<String>,
        decided: impl Into<String>,
        holds: bool,
    ) {
        let (tried, expected) = (tried.into(), expected.into());
        let (happened, decided) = (happened.into(), decided.into());
        self.report.expectation(&Expectation { tried, expected, happened, decided, holds });
    }

    /// Asks a question that should be answered. Returns the answer.
    pub(crate) fn allowed(
        &mut self,
        question: Question,
        enforcer: &dyn Enforcer,
    ) -> Result<Answer, DemoError> {
        self.alive()?;
        let drops = enforcer.drops()?;
        let answer = question.ask(self.network, PATIENT)?;
        let holds = matches!(answer, Answer::Echoed { .. });
        let decided = decided(enforcer, &question, holds, &drops)?;
        self.expect(question.to_string(), "an echo", answer.to_string(), decided, holds);
        Ok(answer)
    }

    /// Asks a question of which nothing may arrive.
    pub(crate) fn denied(&mut self, question: Question, enforcer: &dyn Enforcer) -> Result<(), DemoError> {
        self.alive()?;
        let drops = enforcer.drops()?;
        let mut witness = self.watch(&question)?;
        let answer = question.ask(self.network, BRIEF)?;
        let arrived = witness.count();
        let holds = answer == Answer::Silence && arrived == 0;
        let decided = decided(enforcer, &question, !holds, &drops)?;
        let happened = format!("{answer}, {arrived} packets arrived");
        self.expect(question.to_string(), "nothing arrives", happened, decided, holds);
        Ok(())
    }

    /// Asks the same over both families.
    pub(crate) fn both(
        &mut self,
        question: impl Fn(Family) -> Question,
        allowed: bool,
        enforcer: &dyn Enforcer,
    ) -> Result<(), DemoError> {
        for family in Family::BOTH {
            if allowed {
                self.allowed(question(family), enforcer)?;
            } else {
                self.denied(question(family), enforcer)?;
            }
        }
        Ok(())
    }

    /// Begins to count what arrives of a question.
    pub(crate) fn watch(&self, question: &Question) -> Result<Witness, DemoError> {
        let witness = Witness::watch(self.of(question.to), question.source(), question.service)?;
        witness.map_err(|error| DemoError::Io("watch a host", error))
    }
}

/// What decided about the packets of a question.
pub(crate) fn decided(
    enforcer: &dyn Enforcer,
    question: &Question,
    passed: bool,
    drops: &Drops,
) -> Result<String, DemoError> {
    let (source, destination) = (question.source(), question.destination());
    let service = question.service();
    if passed {
        enforcer.let_in_by(source, destination, &service)
    } else {
        enforcer.dropped_by(source, destination, &service, drops)
    }
}
