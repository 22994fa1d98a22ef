"""How the container image is made and tried on a machine without a container engine. No part of what is installed."""
