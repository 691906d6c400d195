//! One per host: reads the host and its vms, streams samples to the scheduler, carries out live migrations.

pub mod host;
pub mod hypervisor;
