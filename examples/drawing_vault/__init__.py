"""A drawing vault: DXF drawings that come into a folder are checked, published, indexed and reported.

::

    pip install '.[drawings]'
    python -m examples.drawing_vault                  with sample drawings of its own
    python -m examples.drawing_vault DRAWINGS         with yours

It shows the whole of Seatline at work on real files, in one terminal and on a private server. docs/drawing-vault.md walks
through it; the modules, in the order in which a drawing meets them:

* ``__main__.py``   the command line: what is asked, and what is said when it cannot be done
* ``vault.py``      the plan: chain, pool, triggers and schedule as they are stored, and which file lies where
* ``stage.py``      the server, the workers and the watch of one run, and that none of them is left behind
* ``run.py``        one run: the batch, the urgent release that overtakes it, and how far all of it is
* ``screen.py``     what it looks like in the terminal
* ``handlers.py``   what the workers run
* ``licences.py``   stands for the licence server of a CAD program
* ``drawings.py``   what is done with a drawing: read and repair, draw, index
* ``picture.py``    draws with Pillow what ezdxf tells
* ``entries.py``    what the vault knows of each release
* ``page.py``       the one HTML page
* ``worker.py``     a worker process that ends with whoever started it
* ``samples.py``    sample drawings, good and bad ones
"""
