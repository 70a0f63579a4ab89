//! The call on screen: two pictures, three buttons, and what goes on between them.

mod graphics;
mod picture;
