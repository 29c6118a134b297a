"""A variational auto-encoder; outside training the mean is taken."""
import torch
from torch import nn


class VAE(nn.Module):
    def __init__(self, inputs=24, hidden=16, latent=4):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.Tanh())
        self.mean, self.log_var = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ELU(), nn.Linear(hidden, inputs), nn.Sigmoid())

    def sample(self, mean, log_var):
        if not self.training:
            return mean
        return mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)

    def forward(self, x: torch.Tensor):
        h = self.encoder(x)
        mean, log_var = self.mean(h), self.log_var(h)
        return self.decoder(self.sample(mean, log_var)), mean, log_var
