//! `kennel status|env|bucket|job|model|endpoint|function|logs|deploy|invoke`: forwarded to the client
//! crate, which has their arguments and speaks to the platform as any AWS tool does.

pub(crate) fn run(command: kennel_client::Command) -> anyhow::Result<()> {
    Ok(kennel_client::run(command)?)
}
