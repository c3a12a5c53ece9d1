//! `ringfence completions` and `ringfence man`: what shells and `man` make of the command tree.

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::print::out;
use crate::outcome::{Failure, Outcome};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Prints the script.
pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringfence", &mut script);
    out(&String::from_utf8_lossy(&script))
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command, as `flows` or `policy publish`; all of ringfence unless told.
    pub(crate) command: Vec<String>,
}

/// Prints a manual page in roff.
pub(super) fn man(args: &ManArgs) -> Outcome {
    let mut page = Vec::new();
    clap_mangen::Man::new(find(&args.command)?).render(&mut page).map_err(Failure::failed)?;
    out(&String::from_utf8_lossy(&page))
}

/// The command of these words, with its whole name.
fn find(words: &[String]) -> Result<Command, Failure> {
    let (mut command, mut name) = (Cli::command(), "ringfence".to_owned());
    for word in words {
        let Some(next) = command.find_subcommand(word) else {
            let legal: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let legal = if legal.is_empty() { "nothing".to_owned() } else { legal.join(", ") };
            return Err(Failure::Usage(format!("`{name}` has no command `{word}`; legal is {legal}")));
        };
        name = format!("{name}-{}", next.get_name());
        command = next.clone();
    }
    // Pages show the names of commands as they are called, with spaces.
    let called = name.replace('-', " ");
    Ok(command.version(env!("CARGO_PKG_VERSION")).display_name(name).bin_name(called))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        fn walk(command: &Command, words: &[String]) -> usize {
            let mut page = Vec::new();
            let found = find(words).unwrap_or_else(|_| panic!("{words:?}"));
            clap_mangen::Man::new(found).render(&mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            assert!(page.contains(".TH ringfence") && page.contains(".SH SYNOPSIS"), "{words:?}: {page}");
            let each = command
                .get_subcommands()
                .map(|one| walk(one, &[words, &[one.get_name().to_owned()]].concat()));
            1 + each.sum::<usize>()
        }
        assert!(walk(&Cli::command(), &[]) > 30);
        assert!(find(&["flow".to_owned()]).is_err() && find(&["flows".to_owned(), "x".to_owned()]).is_err());
    }

    #[test]
    fn every_shell_gets_a_script_with_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringfence", &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }
}
