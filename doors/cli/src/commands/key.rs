//! `freehold key`: the root key, under which secrets are sealed.

use crate::{failure::Outcome, session::Session};

/// What can be done with the root key.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prints the public half: what is sealed with it, this house alone opens.
    Show,
    /// Replaces the root key and seals every secret again under the new one.
    #[command(after_help = "\
Nothing that runs is touched. It can be interrupted at any moment: no value is lost, and the next start
goes on with it. Text that was sealed for git before cannot be set any more: seal it again.")]
    Rotate,
}

pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Show => {
            let key = session.client.key().await?;
            session.out.show(&key, |key| key.recipient.clone())
        }
        Command::Rotate => {
            session.progress.now("sealing every secret again");
            let rotated = session.client.rotate_key().await;
            session.progress.clear();
            session.out.show(&rotated?, |rotated| {
                let many = match rotated.resealed {
                    1 => "1 version was".to_owned(),
                    many => format!("{many} versions were"),
                };
                format!("The root key is new; {many} sealed again.\n{}", rotated.key.recipient)
            })
        }
    }
}
