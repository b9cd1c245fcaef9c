"""A PyTorch model behind a plain Python server, as a peer to measure `kennel serve` against.

    python pytorch_server.py --hub HUB [--port 8080] [--classes 120] [--backbone resnet50]

The SageMaker contract as people write it with FastAPI: GET /ping, POST /invocations with the photo
as the body (image/jpeg), the answer a list of lists of logits. PIL decodes, torchvision transforms,
torch runs the same network as Kennel's with a head of random weights, under `no_grad`, with torch's
default threads, in the thread pool, so that the event loop stays free.
"""

import argparse
import io
import pathlib

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

import peers


def create_app(backbone_name: str, hub: pathlib.Path | None, classes: int) -> FastAPI:
    backbone = peers.load_backbone(backbone_name, hub)
    head = peers.make_head(peers.BACKBONES[backbone_name][0], classes)
    model = torch.nn.Sequential(backbone, head).eval()
    transform = peers.evaluation_transform(backbone_name)
    app = FastAPI()

    def predict(body: bytes) -> list[list[float]]:
        photo = Image.open(io.BytesIO(body)).convert("RGB")
        batch = transform(photo).unsqueeze(0)
        with torch.no_grad():
            return model(batch).tolist()

    @app.get("/ping")
    def ping() -> dict:
        return {}

    @app.post("/invocations")
    async def invocations(request: Request) -> list[list[float]]:
        if request.headers.get("content-type") != "image/jpeg":
            raise HTTPException(415, "content type must be image/jpeg")
        return await run_in_threadpool(predict, await request.body())

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hub", type=pathlib.Path, help="folder with the hub's ONNX files")
    parser.add_argument("--backbone", choices=peers.BACKBONES, default="mobilenet_v2_1.0_224")
    parser.add_argument("--classes", type=int, default=120)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    if arguments.backbone != "resnet50" and arguments.hub is None:
        parser.error("--hub is needed for this backbone")
    app = create_app(arguments.backbone, arguments.hub, arguments.classes)
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
