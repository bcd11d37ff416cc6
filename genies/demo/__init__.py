"""The demo: small distributions that come with the package, and a small pretrained model that another package ships."""
