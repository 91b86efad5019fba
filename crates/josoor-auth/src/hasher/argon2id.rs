//! Argon2id: parameters, computation and text.

use anyhow::anyhow;
use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::bounds::Cost;

/// 1 GiB.
pub(super) const ARGON2_MAX_MEMORY_KIB: u32 = 1024 * 1024;
/// Memory times iterations, in KiB: the strongest preset in common use (libsodium's "sensitive") is just within.
const ARGON2_MAX_WORK_KIB: u64 = 4 * 1024 * 1024;
const ARGON2_MAX_PARALLELISM: u32 = 64;
pub(super) const ARGON2_OUTPUT: usize = 32;

/// Argon2id's parameters, if they are ones that this program is willing to compute.
pub(super) fn argon2_params(
    memory_kib: u32,
    iterations: u32,
    parallelism: u32,
    output: usize,
) -> Result<Params, &'static str> {
    let work = u64::from(memory_kib) * u64::from(iterations);
    if memory_kib > ARGON2_MAX_MEMORY_KIB
        || work > ARGON2_MAX_WORK_KIB
        || parallelism > ARGON2_MAX_PARALLELISM
    {
        return Err(Cost::Argon2Work.reason());
    }
    Params::new(memory_kib, iterations, parallelism, Some(output))
        .map_err(|_| "its parameters are not Argon2's")
}

/// Whether Argon2's parameters are within the bounds of what others have stored.
pub(super) fn check_argon2_cost(params: &Params) -> Result<(), &'static str> {
    Cost::Argon2Memory.check(u64::from(params.m_cost()))?;
    Cost::Argon2Work.check(u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

pub(super) fn argon2id(password: &[u8], params: &Params, salt: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut output = Zeroizing::new(vec![0; params.output_len().unwrap_or(ARGON2_OUTPUT)]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
        .hash_password_into(password, salt, &mut output)
        .map_err(|e| anyhow!("argon2id: {e}"))?;
    Ok(output)
}
