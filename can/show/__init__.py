"""Pictures of what a trained method or encoder makes of images: `can show`."""
