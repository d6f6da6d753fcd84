"""The maker of boot media."""
