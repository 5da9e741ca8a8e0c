//! Turns an assignment and a prepared image into what the runtime is told: pure.

use freehold_image::PreparedImage;
use freehold_model::{InstanceId, InstanceSpec};
use freehold_runtime::Launch;
use nix::sys::signal::Signal;
use std::{net::Ipv4Addr, path::PathBuf};

/// The number of SIGRTMIN as programs see it on Linux (the C library keeps the first two).
const SIGRTMIN: i32 = 34;
const SIGRTMAX: i32 = 64;

/// An image that cannot be run as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaunchError {
    /// Neither says what to run.
    #[error("image {0} names no command: give the process one, `command = [\"/program\"]`")]
    NoCommand(String),
    /// The image wants a signal that does not exist.
    #[error(
        "image {image} asks for stop signal `{signal}`, which does not exist here: rebuild it with SIGTERM"
    )]
    NoSignal {
        /// The image.
        image: String,
        /// The text in its config.
        signal: String,
    },
}

/// What the runtime is told.
pub(crate) fn launch(
    id: InstanceId,
    spec: &InstanceSpec,
    image: PreparedImage,
    network: (Ipv4Addr, u8),
    log_dir: PathBuf,
) -> Result<Launch, LaunchError> {
    let (template, config) = (&spec.template, image.config);
    let reference = || template.image.reference.clone();
    let args = words_of(template.command.clone(), template.args.clone(), config.entrypoint, config.cmd);
    if args.is_empty() {
        return Err(LaunchError::NoCommand(reference()));
    }
    let signal = config.stop_signal.unwrap_or_else(|| "SIGTERM".into());
    let no_signal = || LaunchError::NoSignal { image: reference(), signal: signal.clone() };
    let identity = [("FREEHOLD_INSTANCE", id.to_string()), ("FREEHOLD_PROCESS", spec.process.to_string())];
    Ok(Launch {
        instance: id,
        process: spec.process.clone(),
        hostname: hostname(id, spec),
        driver: template.driver,
        layers: image.layers,
        args,
        env: merged([
            config.env,
            template.env.clone().into_iter().collect(),
            identity.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        ]),
        workdir: config.workdir,
        user: config.user,
        cpu: template.cpu,
        memory: template.memory,
        pids: template.pids,
        disk: template.disk,
        address: spec.address,
        gateway: network.0,
        network_bits: network.1,
        egress: template.egress.clone(),
        image: image.digest,
        stop_signal: signal_number(&signal).ok_or_else(no_signal)?,
        volumes: vec![],
        log_dir,
        installation: None,
    })
}

/// What is run: the manifest's command; else the image's entrypoint and, if it names some, the manifest's
/// arguments instead of the image's own.
fn words_of(
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
) -> Vec<String> {
    command.unwrap_or_else(|| [entrypoint, args.unwrap_or(cmd)].concat())
}

/// `<process>-<last six of the id>`, at most the 63 characters of a host name.
fn hostname(id: InstanceId, spec: &InstanceSpec) -> String {
    let id = id.to_string();
    let process = spec.process.as_str();
    format!("{}-{}", &process[..process.len().min(56)], &id[id.len() - 6..])
}

/// Later values replace earlier ones of the same name, in place.
fn merged(parts: [Vec<(String, String)>; 3]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = vec![];
    for (key, value) in parts.into_iter().flatten() {
        match env.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => env.push((key, value)),
        }
    }
    env
}

/// `SIGQUIT`, `QUIT`, `3` or `SIGRTMIN+3`, as image configs write it.
fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=SIGRTMAX).contains(&number).then_some(number);
    }
    let name = format!("SIG{}", text.trim_start_matches("SIG"));
    if let Some(offset) = name.strip_prefix("SIGRTMIN") {
        let offset = if offset.is_empty() { 0 } else { offset.strip_prefix('+')?.parse::<i32>().ok()? };
        let number = SIGRTMIN.checked_add(offset)?;
        return (SIGRTMIN..=SIGRTMAX).contains(&number).then_some(number);
    }
    name.parse::<Signal>().ok().map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_are_read_as_image_configs_write_them() {
        let table = [
            ("SIGTERM", Some(15)),
            ("QUIT", Some(3)),
            ("3", Some(3)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN-1", None),
            ("0", None),
            ("65", None),
            ("-9", None),
            ("SIGNOTHING", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }

    #[test]
    fn arguments_keep_the_images_entrypoint_and_a_command_does_not() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let run = |command: Option<&str>, args: Option<&str>| {
            words_of(command.map(words), args.map(words), words("/entry -x"), words("serve"))
        };
        assert_eq!(run(None, None), words("/entry -x serve"));
        assert_eq!(run(None, Some("check all")), words("/entry -x check all"));
        assert_eq!(run(Some("/other"), None), words("/other"));
    }

    #[test]
    fn later_variables_replace_earlier_ones_in_place() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let env = merged([
            vec![pair("PATH", "/bin"), pair("LOG", "info")],
            vec![pair("LOG", "debug"), pair("MODE", "a")],
            vec![pair("MODE", "b")],
        ]);
        assert_eq!(env, [pair("PATH", "/bin"), pair("LOG", "debug"), pair("MODE", "b")]);
    }
}
