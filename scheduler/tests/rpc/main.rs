//! The scheduler as its clients meet it: real sockets, real certificates, a real engine on an empty directory.

mod certificates;
mod errors;
mod link;
mod reflection;
mod roles;
mod running;
