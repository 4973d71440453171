//! `top` on a recording: played at its own pace, faster, or step by step.
//!
//! In: a player, keys, time. Out: a screen.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::TopError;
use super::key::Command;
use super::play::Player;
use super::terminal::events;
use super::ui::Ui;
use crate::session::SessionError;
use crate::session::signals::Signals;

/// How often the screen is drawn at most.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// What one step plays.
const STEP_NS: u64 = 1_000_000_000;
/// Paces that can be chosen.
const SPEEDS: [u32; 6] = [1, 2, 5, 10, 50, 100];

/// How a recording is played.
struct Pace {
    speed: usize,
    paused: bool,
}

impl Pace {
    fn speed(&self) -> u32 {
        SPEEDS.get(self.speed).copied().unwrap_or(1)
    }
}

/// Plays until the reader has had enough.
///
/// # Errors
/// If the terminal cannot be used, the recording not be read again, or the report not be written.
pub fn run(player: Player, ui: Ui, stopped: bool) -> Result<(), TopError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(SessionError::from)?.block_on(drive(player, ui, stopped))
}

async fn drive(mut player: Player, mut ui: Ui, stopped: bool) -> Result<(), TopError> {
    let mut signals = Signals::new()?;
    let mut events = events();
    let mut tick = interval(DRAW_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace { speed: 0, paused: stopped };
    ui.show(player.shown(pace.speed(), pace.paused));
    loop {
        ui.draw()?;
        tokio::select! {
            _ = tick.tick() => {
                if !pace.paused && !player.has_ended() {
                    let played_ns = u64::try_from(DRAW_EVERY.as_nanos()).unwrap_or(STEP_NS);
                    player.play(played_ns.saturating_mul(u64::from(pace.speed())));
                    ui.show(player.shown(pace.speed(), pace.paused));
                }
            }
            event = events.recv() => {
                let Some(event) = event else { break };
                match ui.event(&event) {
                    Some(Command::Quit) => break,
                    Some(Command::Write) => ui.write(),
                    Some(command) => {
                        obey(command, &mut player, &mut pace)?;
                        ui.show(player.shown(pace.speed(), pace.paused));
                    }
                    None => {}
                }
            }
            () = signals.any() => break,
        }
    }
    ui.close()
}

fn obey(command: Command, player: &mut Player, pace: &mut Pace) -> Result<(), TopError> {
    match command {
        Command::Play if player.has_ended() => {
            player.rewind()?;
            pace.paused = false;
        }
        Command::Play => pace.paused = !pace.paused,
        Command::Step => {
            pace.paused = true;
            player.play(STEP_NS.max(player.step_ns()));
        }
        Command::Faster => pace.speed = (pace.speed + 1).min(SPEEDS.len() - 1),
        Command::Slower => pace.speed = pace.speed.saturating_sub(1),
        Command::ToEnd => player.play_to_end(),
        Command::ToStart => player.rewind()?,
        Command::Quit | Command::Write | Command::NewWindow => {}
    }
    Ok(())
}
