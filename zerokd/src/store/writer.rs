//! The writer thread: group commit with a savepoint for each job.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::effects::{self, Outgoing, Signals};
use super::{GROUP, StoreError};

type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;
type Run = Box<dyn FnOnce(&Connection) -> Answer + Send>;

/// Runs at the end of each group, inside its transaction.
pub(crate) type BeforeCommit = Box<dyn FnMut(&Connection, &Outgoing) -> Result<(), StoreError> + Send>;

/// What the writer thread is handed.
pub(super) enum Job {
    Run(Run),
    Stop,
}

/// Wraps a closure as a job; `answer` gets its result after the commit.
pub(super) fn job<T, E, F, A>(f: F, answer: A) -> Job
where
    F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    A: FnOnce(Result<T, E>) + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    Job::Run(Box::new(move |connection| {
        let result = in_savepoint(connection, f);
        Box::new(move |commit| {
            answer(match commit {
                Ok(()) => result,
                // A job's own refusal is true whatever became of the group.
                Err(text) => result.and_then(|_| Err(StoreError::Commit(text).into())),
            });
        })
    }))
}

fn in_savepoint<T, E: From<StoreError>>(
    connection: &Connection,
    f: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let run = |sql: &str| -> Result<(), StoreError> {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    run("SAVEPOINT job")?;
    match f(connection) {
        Ok(value) => {
            run("RELEASE job")?;
            Ok(value)
        }
        Err(error) => {
            run("ROLLBACK TO job")?;
            run("RELEASE job")?;
            Err(error)
        }
    }
}

pub(super) fn spawn(
    mut connection: Connection,
    mut waiting: mpsc::Receiver<Job>,
    signals: Arc<Signals>,
    mut before_commit: BeforeCommit,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name("store".into()).spawn(move || {
        let mut stop = false;
        while !stop {
            let Some(Job::Run(first)) = waiting.blocking_recv() else { break };
            let mut group = vec![first];
            while group.len() < GROUP {
                match waiting.try_recv() {
                    Ok(Job::Run(run)) => group.push(run),
                    Ok(Job::Stop) => {
                        stop = true;
                        break;
                    }
                    Err(_) => break,
                }
            }
            commit(&mut connection, group, &signals, &mut before_commit);
        }
        // A clean stop leaves no -wal behind to replay.
        drop(connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(TRUNCATE);"));
    })
}

fn commit(connection: &mut Connection, group: Vec<Run>, signals: &Signals, before_commit: &mut BeforeCommit) {
    effects::clear();
    let mut answers = Vec::with_capacity(group.len());
    let outcome = (|| -> Result<(), StoreError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for run in group {
            answers.push(run(&transaction));
        }
        before_commit(&transaction, &signals.recent)?;
        transaction.commit()?;
        Ok(())
    })();
    let outcome = outcome.map_err(|e| e.to_string());
    match &outcome {
        Ok(()) => signals.publish(effects::take()),
        Err(text) => tracing::error!("a write could not be committed: {text}"),
    }
    for answer in answers {
        answer(outcome.clone());
    }
}
