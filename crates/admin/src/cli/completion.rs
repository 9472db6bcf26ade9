// SPDX-License-Identifier: Apache-2.0
//! What shells complete: the commands, and the options of the command that stands there. Written from the tables.

use super::option::{Opt, with_common};
use crate::commands;
use std::fmt::Write as _;

/// The script for `shell`, `None` if it is none of bash, zsh and fish.
pub(super) fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

/// Name and options of each command.
fn table() -> impl Iterator<Item = (&'static str, &'static str, Vec<Opt>)> {
    commands::all().iter().map(|command| (command.name, command.description, with_common(command.options)))
}

fn spellings(options: &[Opt]) -> String {
    let mut words: Vec<String> = Vec::new();
    for option in options {
        if !option.short.is_empty() {
            words.push(format!("-{}", option.short));
        }
        // Java has long names with a blank in them, which no shell can complete.
        if !option.long.contains(' ') {
            words.push(format!("--{}", option.long));
        }
    }
    words.extend(["--output".to_owned(), "--watch".to_owned()]);
    words.join(" ")
}

fn bash() -> String {
    let names: Vec<_> = table().map(|(name, ..)| name).collect();
    let names = names.join(" ");
    let mut text = format!(
        "# mqadmin completion for bash: source <(mqadmin completion bash)\n\
         _mqadmin() {{\n  local word=${{COMP_WORDS[COMP_CWORD]}} at=1 options=\n  COMPREPLY=()\n  \
         [[ ${{COMP_WORDS[0]##*/}} == oxmq ]] && {{ [[ ${{COMP_WORDS[1]}} == admin ]] || return; at=2; }}\n  \
         if ((COMP_CWORD == at)); then COMPREPLY=($(compgen -W \"help completion {names}\" -- \"$word\")); return; fi\n  \
         case ${{COMP_WORDS[at]}} in\n    help) options=\"{names}\" ;;\n    completion) options=\"bash zsh fish\" ;;\n"
    );
    for (name, _, options) in table() {
        let _ = writeln!(text, "    {name}) options=\"{}\" ;;", spellings(&options));
    }
    text + "  esac\n  COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n}\n\
            complete -o default -F _mqadmin mqadmin\ncomplete -o default -F _mqadmin oxmq\n"
}

fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

fn zsh() -> String {
    let mut text = String::from(
        "#compdef mqadmin\n# mqadmin completion for zsh: source <(mqadmin completion zsh)\n\
         _mqadmin() {\n  local -a names options\n  names=(\n    'help:usage of a command'\n    'completion:script for a shell'\n",
    );
    for (name, description, _) in table() {
        let _ = writeln!(text, "    '{name}:{}'", quoted(description).replace(':', "\\:"));
    }
    text += "  )\n  if ((CURRENT == 2)); then _describe command names; return; fi\n  case $words[2] in\n    \
             help) _describe command names; return ;;\n    completion) options=(bash zsh fish) ;;\n";
    for (name, _, options) in table() {
        let _ = writeln!(text, "    {name}) options=({}) ;;", spellings(&options));
    }
    text + "  esac\n  compadd -- $options\n  _files\n}\ncompdef _mqadmin mqadmin\n"
}

fn fish() -> String {
    let mut text = String::from(
        "# mqadmin completion for fish: mqadmin completion fish | source\n\
         complete -c mqadmin -n __fish_use_subcommand -f -a help -d 'usage of a command'\n\
         complete -c mqadmin -n __fish_use_subcommand -f -a completion -d 'script for a shell'\n",
    );
    for (name, description, options) in table() {
        let description = description.replace('\\', "\\\\").replace('\'', "\\'");
        let _ =
            writeln!(text, "complete -c mqadmin -n __fish_use_subcommand -f -a {name} -d '{description}'");
        for option in options.iter().filter(|option| !option.long.contains(' ')) {
            let description =
                option.description.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', " ");
            let short = match option.short.len() {
                0 => String::new(),
                1 => format!(" -s {}", option.short),
                _ => format!(" -o {}", option.short),
            };
            let value = if option.takes_value { " -r" } else { "" };
            let _ = writeln!(
                text,
                "complete -c mqadmin -n '__fish_seen_subcommand_from {name}'{short} -l {}{value} -d '{description}'",
                option.long
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_knows_every_command_and_option() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).unwrap();
            for (name, _, options) in table() {
                assert!(script.contains(name), "{shell} {name}");
                assert!(
                    options.iter().all(|option| option.long.contains(' ') || script.contains(option.long)),
                    "{shell} {name}"
                );
            }
        }
        assert!(script("csh").is_none());
    }
}
