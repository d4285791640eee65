"""What people visit: the imaginary journal as a site, and the models as apps in the browser. Nothing here trains, and nothing below knows of it."""
