"""The services a judge is asked through; each module loads its SDK only when a client is opened."""
